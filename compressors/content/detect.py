"""What a text is, from the text alone: the name of the recipe that lays it out, or None for prose.

Cheap features of its beginning, in order: what only one kind has first (JSON parses, a log's lines begin
alike), shares of lines then. Measured by `laconic bench detection`.
"""

from __future__ import annotations

import re

from . import json
from .languages import HEAD, head_of, language_of, looks_like_code

PAGE, TAGS = 0.1, 0.3  # share of a page's characters, or of its lines, that are tags at least
STAMPED, DUMPED = 0.5, 0.1  # share of a log's lines that begin with a time or a level, and where there are dumps
CODED, SURE = 0.5, 0.75  # share of lines that look like code: what a grammar must confirm, and what needs none
MANY, DEFINED, SOME = 0.03, 0.02, 0.15  # shares of lines that define or import, and that look like code beside those
PACKED, SIGNS = 500, 0.1  # characters of a line of a program made small, and share of signs in it
MARKED, LISTED = 0.02, 0.3  # share of lines that say Markdown, where one kind says it alone and where none does

_BEFORE = re.compile(
    r"\s*(?:<!--.{0,2000}?-->|<\?xml[^>]{0,200}\?>)", re.S
)  # one comment: many at once would be tried in
_HTML = re.compile(r"\s*<(?:!doctype\s+html|html|head|body)\b", re.I)  # every way to part them
_TAG = re.compile(
    r"</?(?:a|abbr|article|aside|b|blockquote|body|br|button|center|code|dd|div|dl|dt|em|figure|font|footer|form|h[1-6]"
    r"|head|header|hr|html|i|iframe|img|input|label|li|link|main|meta|nav|ol|option|p|pre|script|section|select|small"
    r"|span|strong|style|sub|sup|table|tbody|td|th|thead|title|tr|tt|u|ul)(?:\s[^<>]{0,2000})?/?>",
    re.I,
)
_STAMP = re.compile(
    r".{0,60}?(?:\d{4}[-/.]\d\d[-/.]\d\d[T ]\d\d:\d\d|\b\d\d:\d\d:\d\d\b)"
    r"|\d{10}(?:\d{3})?(?:\.\d{1,9})?[ :]|\[ {0,6}\d{1,8}\.\d{3,9}\]|[IWEF]\d{4} \d\d:\d\d"
    r"|\d{1,9} (?:verbose|silly|http|info|notice|timing|warn|error) "
    r"|[\[<]?(?:trace|debug|info|verbose|notice|warn(?:ing)?|err(?:or)?|fatal|critical|severe)[\]>]?[: |\t]",
    re.I,
)
_LINES = {
    "heading": re.compile(r"^ {0,3}#{1,6} +\S", re.M),
    "underline": re.compile(r"^\S[^\n]{0,200}\n(?:={3,}|-{3,})[ \t]*$", re.M),
    "fence": re.compile(r"^[ \t]{0,12}(?:```|~~~)[\w+. -]{0,40}$", re.M),
    "item": re.compile(r"^[ \t]{0,12}(?:[-*+]|\d{1,3}[.)]) +\S", re.M),
    "row": re.compile(r"^ {0,3}\|.{0,2000}\|[ \t]*$", re.M),
    "link": re.compile(r"!?\[[^\[\]\n]{1,200}\]\([^()\s]{1,500}\)|^ {0,3}\[[^\]\n]{1,100}\]: +\S", re.M),
    "strong": re.compile(r"\*\*[^\s*][^*\n]{0,200}\*\*|(?<!`)`[^`\n]{1,100}`(?!`)"),
}
_FENCE = re.compile(r" {0,3}(```|~~~)([^\n]*)")
_DEFINES = re.compile(
    r"^[ \t]*(?:(?:async )?def \w+\(|class \w+(?:\(.{0,200}\))?:$|from [\w.]+ import \S|import [\w.]+(?: as \w+)?$"
    r"|#[ \t]*(?:include [<\"]|define \w|ifn?def \w|endif\b|pragma \w)|#!/|package [\w.]+;?$|import [\w.*]+;"
    r"|use [\w:{}, *]+;|(?:pub(?:\(\w+\))? )?(?:fn|struct|enum|impl|trait|mod)\b.{0,200}[{;(]|func .{1,200}\{$"
    r"|(?:export |async )*function\b.{0,200}\{|(?:export )?(?:const|let|var) \w+ = |import .{1,200} from ['\"]"
    r"|export .{1,200}[{;]$|module\.exports|[\"']use strict|typedef \w|extern \w|\w+\(\) ?\{$"
    r"|(?:public|private|protected|static|abstract|final|export) (?:\w+ ){0,4}(?:class|interface|enum|\w+\().{0,200}\{?"
    r"|(?:static |inline |const |struct ){0,4}[A-Za-z_]\w{0,60}[ *]{1,4}\w{1,60}\([^;\n]{0,200}[;,{)]$)",
    re.M,
)
_SIGNS = re.compile(r"[;{}()=,:\[\]]")
_COMMENT = re.compile(
    r"#!|# -\*-|/\*|//|[a-z]?\"{3}|# [^\n]*\n#(?=\s)|[\"']use strict"
)  # no other kind of text begins so
_RULED = re.compile(r"^ {0,3}\|?(?:[ \t]?:?-{2,}:?[ \t]?\|){1,50}[ \t:-]{0,50}$", re.M)
_OTHER = re.compile(
    r"^\.\. [\w-]+::|^:[\w -]{1,30}:|``[^`\n]+``|^(?:={3,}|-{3,})\n[^\n]{1,100}\n(?:={3,}|-{3,})$", re.M
)


def detect(text: str) -> str | None:
    """The kind of a text, None for prose."""
    head = head_of(text[: HEAD * 2].lstrip("\ufeff \t\r\n"))
    if not head:
        return None
    if head[0] in "{[" and json.valid(text):
        return "json.v1"
    lines = [line for line in head.split("\n") if line.strip()]
    if page(head, lines):
        return "html.v1"
    if logged(lines):
        return "log.v1"
    bare = unfenced(head)
    marked = markdown(head, bare, len(lines))
    if programmed(bare, marked):
        return "code.v1"
    return "markdown.v1" if marked > 0 else None


def unfenced(text: str) -> str:
    """The text without its blocks of fenced code; what no fence closes stays."""
    lines = text.split("\n")
    fences = [_FENCE.match(line) for line in lines]
    last = {f[1]: n for n, f in enumerate(fences) if f and not f[2].strip(" \t")}  # the last line that closes one
    out: list[str] = []
    kept, opened, within = 0, -1, ""
    for n, f in enumerate(fences):
        if f and opened < 0 and last.get(f[1], -1) > n:
            opened, within = n, f[1]
        elif f and opened >= 0 and f[1] == within and not f[2].strip(" \t"):
            out += [*lines[kept:opened], ""]
            kept, opened = n + 1, -1
    return "\n".join([*out, *lines[kept:]])


def programmed(bare: str, marked: float) -> bool:
    """Whether a text without its fenced blocks is a program: by its lines, or by what it defines among comments."""
    lines = [line for line in bare.split("\n") if line.strip()]
    packed = sum(len(line) for line in lines if len(line) > PACKED)
    if packed > len(bare) / 2 and len(_SIGNS.findall(bare)) > SIGNS * len(bare):
        return True
    if len(lines) < 3:
        return False
    if _COMMENT.match(bare):
        return True
    coded, defined = looks_like_code(bare), len(_DEFINES.findall(bare)) / len(lines)
    begins = any(_DEFINES.match(line) for line in lines[:3])
    if (defined >= MANY and (begins or coded >= (SOME if marked < 1 else CODED))) or (
        defined >= DEFINED and coded >= SOME and marked < 1
    ):
        return True
    return coded >= CODED and marked < 1 and (coded >= SURE or language_of(bare) is not None)


def page(head: str, lines: list[str]) -> bool:
    """Whether a text is HTML: it says so, or is tags to a good part."""
    at = 0
    while before := _BEFORE.match(head, at):
        at = before.end()
    if _HTML.match(head, at):
        return True
    if _LINES["heading"].search(head) or _LINES["fence"].search(head):
        return False
    tags = _TAG.findall(head)
    opening = sum(_TAG.match(line.lstrip()) is not None for line in lines)
    return sum(map(len, tags)) > PAGE * len(head) and opening > TAGS * len(lines) and head[0] == "<"


def logged(lines: list[str]) -> bool:
    """Whether enough lines that are not indented begin with a time or a level; fewer, where the first two do."""
    outer = [line[:120] for line in lines if not line[0].isspace()]
    marks = [_STAMP.match(line) is not None for line in outer]
    return len(marks) > 1 and sum(marks) >= len(marks) * (DUMPED if all(marks[:2]) and sum(marks) > 3 else STAMPED)


def markdown(head: str, bare: str, lines: int) -> float:
    """How much a text is Markdown: 0 for not at all, 1 for surely, a half for some of its signs."""
    found = {name: len(pattern.findall(head)) for name, pattern in _LINES.items()}
    sure = found["link"] + found["fence"] / 2 + (found["row"] if _RULED.search(head) else 0)
    some = found["heading"] + found["underline"] + found["item"] + found["strong"]
    if len(_OTHER.findall(bare)) > sure + found["heading"]:
        return 0.0
    kinds = sum(n > 0 for n in found.values())
    alone = (
        found["heading"] + sure >= 1
        or found["underline"] > 1
        or (found["item"] and (found["strong"] or found["underline"]))
    )
    share = (sure + some) / max(1, lines)
    if share < MARKED or (not alone and share < LISTED):
        return 0.0
    return 1.0 if sure >= 1 and kinds > 2 else 0.5
