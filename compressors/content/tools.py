"""JSON definitions of tools: a tool stays or goes as a whole, its descriptions sentence by sentence.

Known are the shapes of OpenAI (`tools`, `functions`), Anthropic (`input_schema`) and MCP (`inputSchema`). Names,
types, enums, what is required and how it is nested are one with their tool, so that a schema that is kept is valid and
says what it said; a tool's name, what it is for and its parameters' names decide how early it comes.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..units import sentences
from .json import Cut, Node, plain, scan, valid
from .laid import Laid

TOOL, FIRST = 2.0, 1.0  # logits for a tool before descriptions, and for the first sentence of what it is for
SHOWN = 1000  # characters of a tool that a scorer reads for it
NAME = '"name"'
SCHEMAS = frozenset(('"parameters"', '"input_schema"', '"inputSchema"'))
SAID = frozenset(('"description"', '"title"', '"$comment"'))  # texts for readers, in a schema's own place
SHOWS = frozenset(('"examples"', '"example"'))


def lay(text: str, marker: str) -> Laid | None:
    """The layout of tool definitions; None where a text has none. No marks: a list of tools holds tools only."""
    if not valid(text):
        return None
    nodes = scan(text)
    cut = Schemas(text, nodes)
    return cut.laid("tools.v1", "") if cut.tools else None


class Schemas(Cut):
    """Tools as units: an opening brings all that its tool cannot do without; descriptions depend on it."""

    def __init__(self, text: str, nodes: list[Node]) -> None:
        self.tools = found(text, nodes)
        self.tool = [-1] * len(nodes)  # the tool that each node lies in
        self.loose = [False] * len(nodes)  # what a tool can do without
        self.cuts = [False] * len(nodes)  # containers with something loose inside
        self.own = own = set(self.tools)
        for n, node in enumerate(nodes):
            up = node.parent
            self.tool[n] = n if n in own else self.tool[up] if up >= 0 else -1
            if self.tool[n] >= 0 and n not in own:
                self.loose[n] = self.loose[up] or self._said(text, node, nodes[up])
        for n in reversed(range(len(nodes))):
            if (self.loose[n] or self.cuts[n]) and nodes[n].parent >= 0:
                self.cuts[nodes[n].parent] = True
        super().__init__(text, nodes)
        for n in self.tools:
            if n in self.closing:
                self._bind(n)

    @staticmethod
    def _said(text: str, node: Node, above: Node) -> bool:
        """Whether a member is for readers only; a parameter may have the name of one."""
        if text[above.value] != "{" or above.key == '"properties"':
            return False
        return (node.key in SAID and text[node.value] == '"') or node.key in SHOWS

    def _whole(self, n: int) -> bool:
        if self.tool[n] < 0:
            return super()._whole(n)
        node = self.nodes[n]
        if self.text[node.value] == '"':
            return not self.loose[n] or len(sentences(self.text[node.value + 1 : node.end - 1])) < 2
        return self.loose[n] or not self.cuts[n]

    def _worth(self, n: int) -> float:
        return TOOL if n in self.own else super()._worth(n)

    def _bind(self, n: int) -> None:
        """The opening's head is the next unit that the tool needs, and so on; the rest's head is the opening."""
        closed = self.closing[n]
        opened, outside = self.opened[closed], self.heads[closed]
        inside = range(opened, closed + 1)
        loose = [self.loose[self.of[u]] for u in inside]
        needed = [u for u in inside if not loose[u - opened]]
        for u, following in zip(needed, [*needed[1:], outside], strict=True):
            self.heads[u], self.opened[u] = following, opened
            self.read[u], self.prior[u] = "", 0.0
        self.read[opened], self.prior[opened] = self._shown(n)[:SHOWN], TOOL
        for u in inside:
            if loose[u - opened]:
                self.prior[u] = 0.0
                if not loose[self.heads[u] - opened]:
                    self.heads[u] = opened
        first = next((u for u in inside if loose[u - opened] and self.read[u]), opened)
        self.prior[first] = max(self.prior[first], FIRST)

    def _shown(self, n: int) -> str:
        """A tool as a scorer sees it: its name, the first of what it is for, the names of its parameters."""
        function = next((c for c in self.children[n] if self.nodes[c].key == '"function"'), n)
        said = {self.nodes[c].key: self._value(c) for c in self.children[function]}
        about = said.get('"description"', "")
        ends = sentences(about).ends
        names = [self._key(c) for schema in self._below(n, '"properties"') for c in self.children[schema]]
        first = about[: int(ends[0])] if len(ends) else ""
        return f"{said.get(NAME, '')}: {first} {', '.join(names)}"

    def _below(self, n: int, key: str) -> Iterator[int]:
        end = self.nodes[n].end
        for c in range(n + 1, len(self.nodes)):
            if self.nodes[c].start >= end:
                return
            if self.nodes[c].key == key:
                yield c

    def _key(self, n: int) -> str:
        return plain(self.nodes[n].key)

    def _value(self, n: int) -> str:
        node = self.nodes[n]
        return plain(self.text[node.value : node.end]) if self.text[node.value] == '"' else ""


def found(text: str, nodes: list[Node]) -> list[int]:
    """The tools of a text, none inside another: objects with a name and a schema, in OpenAI's wrapper or without."""
    keys: list[set[str]] = [set() for _ in nodes]
    for node in nodes:
        if node.parent >= 0:
            keys[node.parent].add(node.key)
    out: list[int] = []
    end = 0
    for n, node in enumerate(nodes):
        wrapper = '"function"' in keys[n] and '"type"' in keys[n]
        if node.start >= end and text[node.value] == "{" and (wrapper or (NAME in keys[n] and keys[n] & SCHEMAS)):
            out.append(n)
            end = node.end
    return out
