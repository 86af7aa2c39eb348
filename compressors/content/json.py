"""JSON and lines of JSON: members and items are units, brackets come with them, commas fit what is kept.

What is kept parses again: a container's first kept member gives up its comma. The first item of an array shows its
shape and goes before others of its worth.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from laconic.models import checkpoint

from ..render import Rendered
from ..types import Mark, Units
from ..units import sentences
from .laid import Laid, made, spans_between

WHOLE = 240  # characters of a value that is kept or dropped as one
SHARE = 1 / 16  # of the text, that one which holds others may be
SHAPE = 3.0  # logits for the first item of an array
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_BARE = re.compile(r"[{}\[\]]+")
_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|.)")


@dataclass(slots=True, kw_only=True)
class Node:
    """A member, item or top value: from the end of what stands before it to its own end.

    `parent` is its container's number or -1, `lead` the length of its start up to and with the comma.
    """

    start: int
    parent: int
    value: int = 0  # where its value begins
    end: int = 0
    lead: int = 0
    key: str = ""


def lay(text: str, marker: str) -> Laid | None:
    """The layout of a JSON text, or of one JSON value per line; None if it is neither, or holds no container."""
    if not valid(text):
        return None
    nodes = scan(text)
    return Cut(text, nodes).laid("json.v1", marker) if any(text[n.value] in "[{" for n in nodes) else None


def valid(text: str) -> bool:
    """Whether all of it, or every line of it that is not blank, is JSON."""
    try:
        json.loads(text)
        return True
    except (ValueError, RecursionError):
        lines = [line for line in text.split("\n") if line.strip()]
    try:
        return len(lines) > 1 and all(isinstance(json.loads(line), dict | list) for line in lines)
    except (ValueError, RecursionError):
        return False


def scan(text: str) -> list[Node]:
    """The values of a valid text in the order of their starts."""
    nodes: list[Node] = []
    open_: list[int] = []  # containers that what comes next lies in
    last, now = 0, -1  # end of what came before; the node whose value is awaited
    for token in _TOKEN.finditer(text):
        checkpoint()
        first = text[token.start()]
        if first in "]}":
            last = nodes[open_.pop()].end = token.end()
        elif first == ",":
            nodes.append(Node(start=last, parent=open_[-1], lead=token.end() - last))
            now = len(nodes) - 1
        elif first != ":":
            if now < 0:
                nodes.append(Node(start=last, parent=open_[-1] if open_ else -1))
                now = len(nodes) - 1
            node = nodes[now]
            if first == '"' and not node.key and open_ and text[nodes[open_[-1]].value] == "{":
                node.key = token[0]
                continue
            node.value, node.end = token.span()
            last = token.end()
            if first in "[{":
                open_.append(now)
            now = -1
    return nodes


class Cut:
    """A JSON text as units: `group` is the container each unit is a member of, -1 for the rest."""

    def __init__(self, text: str, nodes: list[Node]) -> None:
        self.text, self.nodes = text, nodes
        self.children: list[list[int]] = [[] for _ in nodes]
        self.top = [n for n, node in enumerate(nodes) if node.parent < 0]
        for n, node in enumerate(nodes):
            if node.parent >= 0:
                self.children[node.parent].append(n)
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.heads: list[int] = []
        self.group: list[int] = []
        self.lead: list[int] = []
        self.read: list[str] = []  # what a scorer sees
        self.prior: list[float] = []
        self.of: list[int] = []  # the node of every unit
        self.closing: dict[int, int] = {}  # the unit that ends a node that was cut
        self.opened: list[int] = []  # for a unit that ends a node, the one that begins it, else its own number
        self._cut()
        self.ends[-1] = len(text)

    def _cut(self) -> None:
        prior = [self._worth(n) for n in range(len(self.nodes))]
        todo: list[tuple[int, int, bool]] = [(n, -1, False) for n in reversed(self.top)]
        while todo:
            checkpoint()
            n, head, done = todo.pop()
            node = self.nodes[n]
            if done:
                self._close(n, head)
                continue
            if node.parent >= 0:
                prior[n] = max(prior[n], prior[node.parent])
            kind = self.text[node.value]
            if self._whole(n):
                read = plain(self.text[node.start + node.lead : node.end])
                self._unit(n, node.start, node.end, head, read, prior[n])
            elif kind == '"':
                self._string(n, head, prior[n])
            else:
                opened = self._unit(n, node.start, node.value + 1, head, "", 0.0)
                todo.append((n, opened, True))
                todo += [(c, opened, False) for c in reversed(self.children[n])]

    def _whole(self, n: int) -> bool:
        """Whether a node is kept or dropped as one."""
        node = self.nodes[n]
        if self.text[node.value] not in '[{"':
            return True
        size = node.end - node.value
        if size > WHOLE or (node.parent < 0 and len(self.top) == 1):
            return False
        return size <= SHARE * len(self.text) or all(
            self.text[self.nodes[c].value] not in "[{" for c in self.children[n]
        )

    def _unit(self, n: int, start: int, end: int, head: int, read: str, prior: float, *, member: bool = True) -> int:
        node = self.nodes[n]
        self.starts.append(start)
        self.ends.append(end)
        self.heads.append(head)
        self.group.append(node.parent if member else -2)
        self.lead.append((node.lead if node.parent >= 0 else node.value - node.start) if member else 0)
        self.read.append(read)
        self.prior.append(prior)
        self.of.append(n)
        self.opened.append(len(self.opened))
        return len(self.starts) - 1

    def _close(self, n: int, opened: int) -> None:
        """The end of what was cut, on which its beginning depends."""
        closed = self._unit(n, self.ends[-1], self.nodes[n].end, self.heads[opened], "", 0.0, member=False)
        self.heads[opened], self.opened[closed] = closed, opened
        self.closing[n] = closed

    def _string(self, n: int, head: int, prior: float) -> None:
        """A long string by its sentences; no escape is cut."""
        node, at = self.nodes[n], self.nodes[n].value + 1
        inner = self.text[at : node.end - 1]
        inside = {i for m in _ESCAPE.finditer(inner) for i in range(m.start() + 1, m.end())}
        edges = [int(s) for s in sentences(inner).starts if int(s) not in inside]
        opened = self._unit(n, node.start, at, head, "", 0.0)
        for a, b in pairwise([*edges, len(inner)]):
            self._unit(n, at + a, at + b, opened, plain(f'"{inner[a:b]}"'), prior, member=False)
        self._close(n, opened)

    def _worth(self, n: int) -> float:
        """What is added to a node's score for showing the shape of the array that it is an item of."""
        node = self.nodes[n]
        if node.parent < 0 or self.text[self.nodes[node.parent].value] != "[":
            return 0.0
        items = self.children[node.parent]
        return SHAPE if len(items) > 2 and items[0] == n else 0.0

    def laid(self, kind: str, marker: str) -> Laid:
        """The units as the pipeline takes them."""
        starts, ends, heads, opened = (np.array(x, np.int64) for x in (self.starts, self.ends, self.heads, self.opened))
        group, lead = np.array(self.group, np.int64), np.array(self.lead, np.int64)
        arrays = np.array([c for n, c in self.closing.items() if self.text[self.nodes[n].value] == "["], np.int64)
        items = np.array([self.of[c] for c in arrays], np.int64)

        def form(kept: np.ndarray) -> Rendered:
            kept = kept & kept[opened]  # an end alone is nothing
            firsts = np.flatnonzero(kept & (group >= -1))
            _, index = np.unique(group[firsts], return_index=True)
            begin = starts.copy()
            begin[firsts[index]] += lead[firsts[index]]
            marks = lost(kept) if marker else []
            return Rendered(spans_between(self.text, begin[kept], ends[kept], [m.at for m in marks]), marks)

        def lost(kept: np.ndarray) -> list[Mark]:
            """At the end of each kept array: how many of its items are not there."""
            gone = np.bincount(group[(group >= 0) & ~kept], minlength=len(self.nodes))[items]
            some = np.bincount(group[(group >= 0) & kept], minlength=len(self.nodes))[items]
            each = zip(arrays.tolist(), gone.tolist(), some.tolist(), strict=True)
            return [
                Mark(int(starts[c]), ", " * bool(k) + json.dumps(f"{marker} {g}", ensure_ascii=False))
                for c, g, k in each
                if g and kept[c]
            ]

        return made(kind, Units(starts=starts, ends=ends, heads=heads), self.prior, self.read, form)


def plain(text: str) -> str:
    """JSON as words: no quotes, brackets or escapes."""
    if "\\" in text:
        text = _QUOTED.sub(lambda m: str(json.loads(m[0])), text)
    return _BARE.sub(" ", text.replace('"', ""))
