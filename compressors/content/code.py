"""Programs by their syntax: statements stand under the signatures and openings of the blocks that they lie in.

Functions are ranked with the query first, then what they hold, under one budget: LongCodeZip (Shi et al., ASE 2025),
with a reader of questions in the place of its perplexity, and with syntax in the place of its blocks. What is kept
parses again where the text did: an opening brings its closing, a clause what it belongs to, a `try` its first handler.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from tree_sitter import Node

from laconic.models import checkpoint

from ..units import printable
from .laid import Laid
from .languages import MOST, WRONG, Language, errors, fitting, head_of, looks_like_code, parse
from .pieces import Cut, Piece

WHOLE = 240  # characters of a block on one line, or of several statements on one, that are not cut
LONG = 400  # characters of a list, a comment or a documentation string above which it is
BLOCK = 4_000  # characters of what is found, or not, as one: a function
DEEPEST = 60  # blocks in blocks
IMPORT, SIGNATURE, COMMENT = 2.0, 1.0, -0.5  # logits
LIKELY = 0.3  # share of lines that must look like code where no grammar fits
_CLOSING = re.compile(r"[})\]]|(?:end|fi|done|esac|endif)\b")
_DOCUMENT = re.compile(r'[A-Za-z]{0,2}("""|\'\'\')')


def lay(text: str, marker: str) -> Laid | None:
    """The layout of a program; None where no grammar fits and too few lines look like code."""
    text = printable(text)
    head = head_of(text)
    language, tree = (fitting(head) if len(text) <= MOST else None) or (None, None)
    if language and len(head) < len(text):
        tree = parse(language, text)
    if language and tree and errors(tree) <= WRONG * len(text):
        cut = Cut(text, language.comment, language.filler)
        Walk(cut, language, bool(marker.strip())).children(tree.root_node.children, -1, 0, -1, 0)
        return cut.laid("code.v1", marker)
    return indented(text).laid("code.v1", marker) if looks_like_code(text) >= LIKELY else None


class Inner(NamedTuple):
    """What lies in a block: its range without braces, the nodes in it, and the clause that it is the block of."""

    start: int
    end: int
    nodes: list[Node]
    clause: Node | None
    statements: bool  # not elements of a list


class Walk:
    """A tree's statements as pieces; offsets are characters."""

    def __init__(self, cut: Cut, language: Language, marked: bool) -> None:
        self.cut, self.text, self.language, self.marked = cut, cut.text, language, marked
        self.at = offsets(cut.text)

    def children(
        self, nodes: list[Node], group: int, body: int, block: int, depth: int, statements: bool = True
    ) -> None:
        start = -1  # of attributes that belong to what follows them
        for node in nodes:
            if not node.is_named and not node.is_error:
                continue
            if node.type == "statement_list":
                self.children(node.children, group, body, block, depth, statements)
            elif node.type in self.language.before:
                start = start if start >= 0 else self.at(node.start_byte)
            else:
                self.statement(node, start, group, body, block, depth, statements)
                start = -1

    def statement(
        self, node: Node, start: int, group: int, body: int, block: int, depth: int, statements: bool
    ) -> None:
        checkpoint()
        a, b = start if start >= 0 else self.at(node.start_byte), self.at(node.end_byte)
        comment = "comment" in node.type
        if self.joins(a, b, body, comment, statements):
            self.cut.pieces[-1].end = b
            return
        document = statements and _DOCUMENT.match(self.text, a) is not None and node.named_child_count == 1
        if b - a > LONG and (document or comment) and "\n" in self.text[a:b]:
            self.prose(a, b, group, body, block, document)
            return
        if block < 0 and b - a <= BLOCK and "\n" in self.text[a:b]:
            block, self.cut.blocks = self.cut.blocks, self.cut.blocks + 1
        inners = self.inners(node) if depth < DEEPEST and (not self.language.filler or self.cut.begins_line(a)) else []
        if inners:
            self.parts(node, a, b, inners, group, body, block, depth)
            return
        prior = COMMENT if comment else IMPORT if node.type in self.language.imports else 0.0
        self.cut.add(
            Piece(
                start=a,
                end=b,
                group=self.cut.group(group),
                body=body,
                prior=prior,
                block=block,
                real=not comment,
                counted=not (comment or document),
            )
        )

    def joins(self, start: int, end: int, body: int, comment: bool, statements: bool) -> bool:
        """Whether a node is written with what stands before it on its line: neither line would be whole."""
        if not self.cut.pieces:
            return False
        last = self.cut.pieces[-1]
        if "\n" in self.text[last.end : start] or start < last.end:
            return False
        if comment:
            return last.real
        if not last.leaf or last.body != body:
            return False
        return end - last.start <= WHOLE or bool(self.language.filler and statements)

    def parts(
        self, node: Node, a: int, b: int, inners: list[Inner], group: int, body: int, block: int, depth: int
    ) -> None:
        """A statement with blocks: openings, what is in them, and closings, each clause a group of its own."""
        cut = self.cut
        main = now = cut.group(group)
        clauses: dict[int, int] = {}
        clause: Node | None = None
        at, first = a, True

        def piece(stop: int) -> None:
            nonlocal at, first
            given = SIGNATURE if first and now == main else 0.0
            made = Piece(
                start=at, end=stop, group=now, body=body if first else -1, prior=given, block=block, leaf=False
            )
            first = not cut.add(made) and first
            at = max(at, stop)

        for inner in inners:
            if clause is not None and self.at(clause.end_byte) <= inner.start and inner.clause != clause:
                piece(self.at(clause.end_byte))
                now = main
            if inner.clause is not None and inner.clause.id not in clauses:
                piece(self.at(inner.clause.start_byte))
                now = clauses[inner.clause.id] = cut.group(main)
                if node.type in self.language.needs and len(clauses) == 1:
                    cut.into[now] = main
            elif inner.clause is not None:
                now = clauses[inner.clause.id]
            clause = inner.clause
            piece(inner.start)
            inside = cut.body(now) if inner.statements else -1
            held = len(cut.pieces)
            self.children(inner.nodes, now, inside, block, depth + 1, inner.statements)
            if inner.statements and len(cut.pieces) > held:
                self.needed(node, now, inside, held)
            at = max(at, inner.end)
        if clause is not None:
            piece(self.at(clause.end_byte))
        now = main
        piece(b)

    def needed(self, node: Node, group: int, body: int, held: int) -> None:
        """What may not go from a body: its first case, or where nothing may be put in, something."""
        cut = self.cut
        inside = [p for p in cut.pieces[held:] if p.body == body and p.real]
        if node.type == "match_statement" and inside:
            cut.into[cut.found(inside[0].group)] = cut.found(group)
        elif self.language.filler and not self.marked and inside:
            sizes: dict[int, int] = {}
            for p in cut.pieces[held:]:
                found = cut.found(p.group)
                sizes[found] = sizes.get(found, 0) + p.end - p.start
            cut.into[min((cut.found(p.group) for p in inside), key=lambda g: (sizes[g], g))] = cut.found(group)

    def prose(self, a: int, b: int, group: int, body: int, block: int, document: bool) -> None:
        """A long comment or documentation string by its lines, between its first and its last."""
        mine = self.cut.group(group)
        edges = [a]
        while (line := self.text.find("\n", edges[-1], b)) >= 0:
            edges.append(line + 1)
        closing = b - (3 if document else 2 if self.text[b - 2 : b] == "*/" else 0)
        lines = [*(e for e in edges if e < closing), closing]
        part = partial(Piece, prior=COMMENT, block=block, counted=False, leaf=False)
        self.cut.add(part(start=a, end=lines[1], group=mine, body=body, real=document))
        for c, d in pairwise(lines[1:]):
            self.cut.add(part(start=c, end=d, group=self.cut.group(mine), real=False))
        self.cut.add(part(start=closing, end=b, group=mine, real=False))

    def inners(self, node: Node) -> list[Inner]:
        """The blocks of a statement that lie in no other block of it, in source order."""
        found: list[Inner] = []
        todo: list[tuple[Node, Node | None]] = [(node, None)]
        while todo:
            n, clause = todo.pop()
            size = n.end_byte - n.start_byte
            one_line = n.start_point[0] == n.end_point[0]
            if one_line and size <= WHOLE and n.type not in self.language.blocks:
                continue
            if (inner := self.inner(n, clause, one_line)) is not None:
                found.append(inner)
                continue
            if n.type in self.language.clauses:
                clause = n
            todo += [(c, clause) for c in reversed(n.children)]
        return found

    def inner(self, n: Node, clause: Node | None, one_line: bool) -> Inner | None:
        size = n.end_byte - n.start_byte
        statements = n.type in self.language.blocks
        if not statements and not (n.type in self.language.lists and size > LONG):
            return None
        children = n.children
        if self.language.name == "python" and statements:
            if not self.cut.begins_line(self.at(n.start_byte)):
                return None  # on the line of its colon
            return Inner(self.at(n.start_byte), self.at(n.end_byte), children, clause, True)
        if one_line and size <= WHOLE:
            return None
        first, last = opening(n, children), len(children)
        if last and children[-1].type in ("}", "]", ")", "#endif", "done"):
            last -= 1
        if first >= last:
            return None
        start = self.at(children[first - 1].end_byte) if first else self.at(n.start_byte)
        end = self.at(children[last].start_byte) if last < len(children) else self.at(n.end_byte)
        if self.language.filler and statements and not self.cut.begins_line(self.at(children[first].start_byte)):
            return None
        return Inner(start, end, children[first:last], clause, statements)


def opening(node: Node, children: list[Node]) -> int:
    """How many of a block's children stand before what it holds."""
    for i, child in enumerate(children):
        if child.type in ("{", "[", "(", ":", "do", "->"):
            return i + 1
    if node.type.startswith("preproc"):
        for i in range(len(children) - 1, -1, -1):
            if node.field_name_for_child(i) in ("name", "condition"):
                return i + 1
        return 1  # the `#else`
    return 0


def offsets(text: str) -> Callable[[int], int]:
    """From bytes of the text's UTF-8 to its characters."""
    if text.isascii():
        return int
    data = np.frombuffer(text.encode(), np.uint8)
    before = np.concatenate(([0], np.cumsum((data & 0xC0) != 0x80)))
    return lambda at: int(before[at])


def indented(text: str) -> Cut:
    """Code of no known grammar: a line stands under the last one that is indented less; closing lines go with it."""
    cut = Cut(text, "", "")
    around: list[tuple[int, int, int]] = []  # indentation, group and body of the lines above
    at = 0
    for line in text.split("\n"):
        checkpoint()
        if inner := line.strip():
            depth = len(line) - len(line.lstrip())
            while around and around[-1][0] > depth:
                around.pop()
            same = around.pop() if around and around[-1][0] == depth else None
            _, parent, body = around[-1] if around else (0, -1, 0)
            closing = same is not None and _CLOSING.match(inner)
            group = same[1] if same and closing else cut.group(parent)
            mine = same[2] if same and closing else cut.body(group)
            cut.add(Piece(start=at, end=at + len(line), group=group, body=-1 if closing else body, leaf=False))
            around.append((depth, group, mine))
        at += len(line) + 1
    return cut
