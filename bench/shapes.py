"""Hostile shapes of a request, each for a number of characters: what takes long where work is not in proportion to it.

Met in public bug reports, in attacks on this service, and as the worst cases of its own loops. No imports: what drives
a service over HTTP takes them too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Asked(NamedTuple):
    """A request's texts and what is asked of them."""

    texts: list[str]
    query: str = "who built the bridge in 1932?"
    titles: list[str] | None = None
    strings: tuple[str, ...] = ()  # of `keep`
    patterns: tuple[str, ...] = ()
    separator: str = "\n\n"

    @property
    def size(self) -> int:
        """Characters that it brings."""
        return sum(map(len, (*self.texts, self.query, *(self.titles or ()), *self.strings, *self.patterns)))


Shape = Callable[[int], Asked]
PROSE = "The old bridge was built in 1932 by Ada Lovelace near Paris. It cost 3.5 million dollars, and it rained. "
RUNS = "a1é漢 \n|-.😀#*`~/\"\\<([{,=_:@。\t\r\u3000\u00a0\u0301\u200bก&!>;'\0\ud800"  # one character, again and again
LINES = {
    "blank lines": "\n ",
    "padded lines": " \n",
    "closings": "}\n",
    "openings": "{\n",
    "html": "<div>",
    "html p": "<p>a",
    "html b": "<b>x",
    "html closings": "</div>",
    "table": "<table><tr><td>",
    "comment": "<!--",
    "attribute": '<a b="',
    "tags": "<li>one</li>",
    "json": "[[",
    "bullets": "- a\n",
    "headings": "# The same heading\n\ntext\n",
    "rows": "| a | b |\n",
    "links": "[a](",
    "links 2": "[a](b) ",
    "images": "![a][b]",
    "fences": "```\n",
    "fenced": "```\na\n```\n",
    "quotes >": "> ",
    "commented": "/* a\n",
    "imports": "import a\n",
    "defs": "def f():\n",
    "classes": "class A:\n",
    "ifs": "if a:\n",
    "calls": "f(",
    "lists": "a = [",
    "strings": 'a = """',
    "mixed words": "a1_",
    "path": "/a",
    "dotted": "a.",
    "mail": "a@",
    "url": "http://a ",
    "numbers": "1,",
    "quantity": "$1 ",
    "times": "12:00:00 INFO a\n",
    "levels": "INFO a=1 /x/y 1\n",
    "ands ;": "&amp;",
    "one letter": "a ",
    "sentences": "A. ",
    "initials": "Dr. ",
    "cjk": "文。",
    "han words": "漢 ",
    "ellipses": "... ",
    "spaced": "a  ",
    "wrapped": "word\n",
    "crlf": "a\r\n",
    "line ends": "a,\n",
    "names": "<|endoftext|>",
    "special": "[CLS] ",
    "keys": '{"a":',
    "trailing": "a" + " " * 50 + "\n",
    "semis": "a;",
    "strong": "**a",
    "rules": "---\n",
    "underlined": "a\n===\n",
    "numbered": "1. a\n",
    "definition": "[a]: b\n",
    "badges": "![a](b) ",
    "dots": ". . ",
    "prose": PROSE,
    "hashed": "#a\n",
    "equal signs": "a=b ",
    "quoted": '"a" ',
    "stamps": "2024-01-01 00:00:00 ",
    "hex": "0x1f ",
    "front": "---\na: b\n",
    "try": "try:\n a\nexcept:\n b\n",
    "else": "if (a) {} else ",
    "templ": "${",
    "unclosed": "<td><tr>",
    "options": "<option>",
    "pre": "<pre>a\n\n",
    "script": "<script>",
    "title": "<title>",
    "nav": "<nav><a>b</a>",
    "dl": "<dt>a<dd>b",
    "ol": "<ul><li>",
}


def run(unit: str) -> Shape:
    return lambda n: Asked([(unit * (n // len(unit) + 1))[:n]])


def wrapped(n: int) -> Asked:
    return Asked(["a" + "\n " * (n // 2) + "b"])


def nested(opening: str, closing: str) -> Shape:
    def made(n: int) -> Asked:
        depth = n // (len(opening) + len(closing))
        return Asked([opening * depth + closing * depth])

    return made


def indented(line: str) -> Shape:
    """Blocks in blocks: indentation makes a text of n characters some sqrt(n) deep."""

    def made(n: int) -> Asked:
        depth = int((2 * n) ** 0.5)
        return Asked(["".join(" " * d + line + "\n" for d in range(depth))])

    return made


def many(text: str, title: str | None = None) -> Shape:
    """Many tiny documents of one text."""

    def made(n: int) -> Asked:
        count = max(1, n // len(text))
        return Asked([text] * count, titles=[title] * count if title else None)

    return made


def numbered(n: int) -> Asked:
    count = n // 60
    texts = [f"Bridge {i} was built by Ada {i} near Paris {i}. It rained." for i in range(count)]
    return Asked(texts, titles=[f"Bridge {i}" for i in range(count)])


def glued(n: int) -> Asked:
    return Asked(["x" * 40] * (n // 40), separator="x")


def long_query(n: int) -> Asked:
    return Asked([PROSE * 10], query=PROSE * (n // len(PROSE)))


def identified(n: int) -> Asked:
    names = [f"ABC-{i:04}" for i in range(20)]
    return Asked([" ".join(names * (n // 180))], query=" ".join(names))


def keep_string(n: int) -> Asked:
    return Asked([("bridge " * (n // 7))], strings=tuple(["bridge"] * 200))


def keep_strings(n: int) -> Asked:
    return Asked(["a" * n], strings=tuple("a" * i for i in range(1, 200)))


def keep_pattern(pattern: str, unit: str = "a", count: int = 1) -> Shape:
    return lambda n: Asked([unit * (n // len(unit))], patterns=(pattern,) * count)


def objects(n: int) -> Asked:
    row = '{"id": %d, "name": "Ada %d", "tags": ["a", "b"], "note": "It rained. The bridge was built."}'
    return Asked(["[" + ",".join(row % (i, i) for i in range(n // 80)) + "]"])


def flat_numbers(n: int) -> Asked:
    return Asked(["[" + ",".join("1" * 1 for _ in range(n // 2)) + "]"])


def one_string(n: int) -> Asked:
    return Asked(['{"a": "' + "b. " * (n // 3) + '"}'])


def escapes(n: int) -> Asked:
    return Asked(['{"a": "' + "\\n" * (n // 2) + '"}'])


def program(n: int) -> Asked:
    body = "def f{0}(x):\n    if x > {0}:\n        return x + {0}\n    return [x, {0}]\n\n\n"
    return Asked(["".join(body.format(i) for i in range(n // 70))])


def braces(n: int) -> Asked:
    body = "int f{0}(int x) {{\n    if (x > {0}) {{\n        return x + {0};\n    }}\n    return {0};\n}}\n\n"
    return Asked(["".join(body.format(i) for i in range(n // 80))])


def logged(n: int) -> Asked:
    line = "2024-01-01 12:{0:02}:{1:02} INFO worker-{2} took {2} ms for /a/b/{2}\n"
    return Asked(["".join(line.format(i // 60 % 60, i % 60, i) for i in range(n // 55))])


def distinct_logs(n: int) -> Asked:
    words = ["alpha", "beta", "gamma", "delta", "omega"]
    lines = (
        "INFO " + " ".join(words[(i >> s) % 5] + chr(97 + (i >> s) % 26) for s in range(0, 16, 2))
        for i in range(n // 60)
    )
    return Asked(["\n".join(lines)])


def page(n: int) -> Asked:
    part = "<h2>Part {0}</h2><p>The bridge was built in 1932. It rained.</p><ul><li>one</li><li>two</li></ul>"
    return Asked(["<html><body>" + "".join(part.format(i) for i in range(n // 95)) + "</body></html>"])


def document(n: int) -> Asked:
    part = (
        "## Part {0}\n\nThe bridge was built in 1932. It rained.\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
    )
    return Asked(["".join(part.format(i) for i in range(n // 100))])


def tools(n: int) -> Asked:
    tool = (
        '{"type": "function", "function": {"name": "t%d", "description": "Does it. Well.", '
        '"parameters": {"type": "object", "properties": {"a": {"type": "string", "description": "An a. Or b."}}}}}'
    )
    return Asked(["[" + ",".join(tool % i for i in range(n // 190)) + "]"])


def heading_tree(n: int) -> Asked:
    return Asked(["".join("#" * (1 + i % 6) + " Heading\n\nA word.\n\n" for i in range(n // 22))])


def items_tree(n: int) -> Asked:
    depth = int((2 * n) ** 0.5)
    return Asked(["".join(" " * d + "- a\n" for d in range(depth))])


def commas(n: int) -> Asked:
    """One sentence of many clauses, each of which depends on the one before."""
    return Asked(["The bridge stood, " * (n // 18) + "and fell."])


def words_of(n: int) -> Asked:
    """Words that are all different."""
    return Asked([" ".join(f"w{i}" for i in range(n // 6))])


def lines_of(n: int) -> Asked:
    return Asked(["\n".join(f"Line {i} of it" for i in range(n // 12))])


SHAPES: dict[str, Shape] = {
    **{f"run of {c!a}": run(c) for c in RUNS},
    **{f"repeated {name}": run(unit) for name, unit in LINES.items()},
    "white space in a line": wrapped,
    **{f"nested {a}{b}": nested(a, b) for a, b in ("()", "[]", "{}", ("<div>", "</div>"), ("<b>", "</b>"))},
    "nested json objects": nested('{"a":', "}"),
    "nested json in lists": lambda n: Asked([("[" * 100 + "]" * 100 + ",") * (n // 201) + "1"]),
    "nested <ul>": nested("<ul><li>", "</li></ul>"),
    **{f"deep {line}": indented(line) for line in ("if a:", "- a", "a {", "<p>a")},
    "tiny documents": many("A bridge. "),
    "one-letter documents": many("a"),
    "titled documents": many("Ada built the bridge. It fell. ", "Bridge"),
    "different documents": numbered,
    "glued documents": glued,
    "long query": long_query,
    "identifiers": identified,
    "the same string kept": keep_string,
    "strings of one letter kept": keep_strings,
    "a(?:.*b)?": keep_pattern("a(?:.*b)?"),
    "(a*)*b": keep_pattern("(a*)*b"),
    "a": keep_pattern("a", count=100),
    "empty pattern": keep_pattern(""),
    "(?s).": keep_pattern("(?s).", count=50),
    "x*": keep_pattern("x*"),
    "a.{1000}b": keep_pattern(".{1,500}b"),
    r"\w+\s?$": keep_pattern(r"\w+\s?$", "ab "),
    **{f.__name__: f for f in (objects, flat_numbers, one_string, escapes, program, braces, logged, distinct_logs)},
    **{f.__name__: f for f in (page, document, tools, heading_tree, items_tree, commas, words_of, lines_of)},
}
