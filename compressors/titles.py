"""What a document is about, in its own words where no field says it: retrieved text carries its title with it.

Front matter, a heading of Markdown or HTML, "Title: …", or a first line that reads as one.
"""

from __future__ import annotations

import re
from html import unescape

HEAD = 4000  # characters in which a title is looked for
LONGEST = 100  # characters of one
PLAIN = 60  # and of a line that nothing marks as one, without a blank line after it
_FRONT = re.compile(r"---[ \t]*\n(?P<fields>.{0,3000}?\n)(?:---|\.\.\.)[ \t]*(?:\n|$)", re.DOTALL)
_FIELD = re.compile(r"^title[ \t]*:[ \t]*(?P<title>\S[^\n]*)$", re.MULTILINE | re.IGNORECASE)
_TAGGED = re.compile(r"<(?P<tag>title|h1)\b[^>]{0,500}>(?P<title>.{1,500}?)</(?P=tag)\s*>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"<[^<>]{1,500}>")
_NAMED = re.compile(
    r"(?:title|subject|topic|headline|titel|betreff|titre|sujet|objet|título|asunto|titolo|oggetto|otsikko|tytuł|başlık|"
    r"заголовок|тема|τίτλος|العنوان|عنوان|शीर्षक|标题|標題|题目|件名|題名|제목)[ \t]*[:：][ \t]*(?P<title>\S.*)",
    re.IGNORECASE,
)
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(?P<title>\S.*?)(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(?:={3,}|-{3,})[ \t]*$")
_BOLD = re.compile(r"(?P<mark>\*\*|__)(?P<title>[^*_].*)(?P=mark)$")
_LINK = re.compile(r"!?\[(?P<text>[^\[\]]{0,200})\]\([^()]{0,500}\)")
_TURN = re.compile(r"[^:\n]{1,40}:[ \t]+\S")
_MARKED = re.compile(r"(?:[-*+•|>`~{}\[\]<$%@/\\;]|\d{1,3}[.)][ \t])")
_SENTENCE = tuple(".,;:…。，、；：．")


def title_of(text: str) -> str:
    """The title that a text begins with or names, "" where there is none; no longer than LONGEST characters."""
    found = _said(text[:HEAD].lstrip("\ufeff \t\r\n").replace("\r\n", "\n"))
    return found if 0 < len(found) <= LONGEST else ""


def _said(head: str) -> str:
    if front := _FRONT.match(head):
        if field := _FIELD.search(front["fields"]):
            return _bare(field["title"].strip("\"'"))
        head = head[front.end() :].lstrip()
    if head.startswith("<"):
        tagged = _TAGGED.search(head)
        return _bare(unescape(_TAG.sub(" ", tagged["title"]))) if tagged else ""
    first, broken, rest = head.partition("\n")
    first, after = first.rstrip(), rest.partition("\n")[0]
    for form in (_HEADING, _NAMED, _BOLD):
        if named := form.match(first):
            return _bare(named["title"])
    if not broken or not rest.strip():
        return ""  # all there is
    return _bare(first) if _UNDERLINE.match(after) or _reads_as_title(first, after) else ""


def _reads_as_title(line: str, after: str) -> bool:
    """Whether a line that nothing marks stands apart from the text below it: short, and no sentence, item or turn."""
    if len(line) > (PLAIN if after.strip() else LONGEST) or line.endswith(_SENTENCE) or _MARKED.match(line):
        return False
    if after[:1].islower() or (_TURN.match(line) and _TURN.match(after.lstrip())):
        return False  # a sentence that goes on, or a conversation
    return line[:1].isupper() or not line.isascii() or any(c.isupper() for c in line)


def _bare(title: str) -> str:
    """A title without marks of emphasis, links and doubled blanks."""
    return " ".join(_LINK.sub(r"\g<text>", title).replace("**", "").replace("`", "").split())
