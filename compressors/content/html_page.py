"""What is known of a page's elements before it is cut: how much of each is seen, which tags stay, what is apart."""

from __future__ import annotations

import re

from .html_text import CLOSES, OPENS, TEXT, Piece, seen, stripped
from .html_tree import OPTIONAL_END, UNSEEN, Element, names

BOILERPLATE = -2.0  # logits for navigation, footers, banners, lists of links, what is hidden
_LINKS, _DENSE, _LABEL = 5, 0.6, 60  # at least so many links, share of the text in them, characters of one on average
_LISTS = names("ul ol menu dir dl table select")
_MEANT = _LISTS | names(  # tags that say what their text is
    "p h1 h2 h3 h4 h5 h6 li dt dd tr td th caption pre listing blockquote figure figcaption details summary title"
    " option optgroup legend textarea"
)
_SECTIONS = names("article section aside nav footer header main hgroup address")
_ROWS = frozenset(("thead", "tbody", "tfoot"))  # a table holds its rows without them
BLOCKS = _MEANT | _SECTIONS | names("div center form fieldset dialog hr thead tbody tfoot colgroup")
INLINE = names(
    "a abbr acronym b bdi bdo big br button cite code del dfn em font i img input ins kbd label mark nobr noscript q s"
    " samp small span strike strong sub sup time tt u var wbr"
)
_APART = frozenset(("nav", "footer", "aside", "noscript", "dialog", "select", "button"))
_ROLES = frozenset(("navigation", "contentinfo", "search", "complementary", "menu", "menubar", "dialog", "alertdialog"))
_NAMES = re.compile(
    r"(?:(?:site|main|page|top|bottom|global|primary|secondary|left|right|mobile|local|md|vector|mw|wy|sphinx)[-_]{1,2})*"
    r"(?:nav|navs|navbar|navigation|menu|submenu|sidebar|side|breadcrumbs?|crumbs?|footer|cookies?|consent|gdpr|banner|toc"
    r"|related|share|sharing|social|newsletter|subscribe|advert|advertisement|ads?|promo|popup|modal|skip|pagination|pager"
    r"|prev-next|jump-?links?)"
    r"(?:[-_]{1,2}(?:bar|box|banner|list|links?|menu|nav|container|wrapper|content|inner|panel|widget|notice|section|area"
    r"|top|bottom))*",
    re.IGNORECASE,
)
_ATTRIBUTE = re.compile(r"\s(class|id|role|aria-hidden|hidden|style)(?:\s*=\s*(\"[^\"]*\"|'[^']*'|[^\s\"'>]+))?", re.I)
_STAYING = re.compile(r"\s(?:(?:col|row)span=(?:\"\d+\"|'\d+'|\d+(?=[\s>]))|alt=(?:\"[^\"]+\"|'[^']+'))", re.I)


class Page:
    """The elements of a text, and of each: characters seen, those in links, blocks inside, whether its tags stay."""

    def __init__(self, text: str, elements: list[Element]) -> None:
        self.text, self.elements = text, elements
        count = len(elements)
        self.size, self.linked, self.links, self.blocks, self.direct = ([0] * count for _ in range(5))
        self.nested = [False] * count  # holds a list or a table
        self.loose = [False] * count  # holds text beside its blocks, or nothing but text
        self.open_ended = [False] * count  # holds an element whose end is implied
        for n in range(count - 1, -1, -1):
            self._measure(n)
        self.tags = [False] * count
        for n in range(1, count):
            self.tags[n] = self._stay(n)

    def flat(self, n: int) -> bool:
        """Whether an element is text in a line rather than a block, or a wrapper of blocks."""
        return self.elements[n].name not in BLOCKS and not self.blocks[n]

    def tag(self, n: int, kind: int) -> list[Piece]:
        """The opening tag without its attributes, but for those that say what is seen."""
        e = self.elements[n]
        name = e.start + 1 + len(e.name)
        if self.text[name : e.inner] in (">", "/>"):
            return [Piece(e.start, e.inner, kind)]
        found = _STAYING.finditer(self.text, name, e.inner) if e.name in ("td", "th", "img") else ()
        places = [(e.start, name), *(m.span() for m in found), (e.inner - 1, e.inner)]
        return [Piece(a, b, kind) for a, b in places]

    def pieces(self, n: int) -> list[Piece]:
        """All that is written of an element."""
        e = self.elements[n]
        if e.name == "br":
            return self.tag(n, CLOSES)
        if e.name in UNSEEN or not self.size[n]:
            return []
        if e.name == "img":
            return self.tag(n, CLOSES)
        out: list[Piece] = []
        for part in e.parts:
            if isinstance(part, int):
                out += self.pieces(part)
            elif not self.blocks[n] or self.text[part[0] : part[1]].strip():
                out.append(Piece(*part, TEXT))
        if e.name in BLOCKS and e.name not in ("pre", "textarea"):
            out = stripped(self.text, out)
        if not (self.tags[n] or (e.name in ("sub", "sup") and not self.links[n] and e.close < e.end)):
            return out
        return [*self.tag(n, OPENS), *out, *self.closing(n)]

    def closing(self, n: int) -> list[Piece]:
        """The closing tag, where there is one."""
        e = self.elements[n]
        return [Piece(e.close, e.end, CLOSES)] if e.close < e.end else []

    def boilerplate(self, n: int) -> float:
        """Logits added to all that an element holds."""
        e = self.elements[n]
        if e.name in _APART:
            return BOILERPLATE
        if 2 * self.size[n] > self.size[0]:
            return 0.0
        if (
            self.links[n] >= _LINKS
            and self.linked[n] > _DENSE * self.size[n]
            and self.linked[n] < _LABEL * self.links[n]
        ):
            return BOILERPLATE
        for key, value in _ATTRIBUTE.findall(self.text, e.start, e.inner):
            if self._apart(key.lower(), value.strip("\"'")):
                return BOILERPLATE
        return 0.0

    @staticmethod
    def _apart(key: str, value: str) -> bool:
        if key in ("class", "id"):
            return any(len(w) < 60 and _NAMES.fullmatch(w) for w in value.split()[:20])
        if key == "style":
            return "display:none" in value.replace(" ", "").lower()
        return key == "hidden" or value.lower() in (_ROLES if key == "role" else ("true",))

    def _measure(self, n: int) -> None:
        e = self.elements[n]
        if e.name == "img":
            self.size[n] = sum(len(m) for m in _STAYING.findall(self.text, e.start, e.inner))
        if e.name in UNSEEN:
            return
        for part in e.parts:
            if isinstance(part, tuple):
                size = len(seen(self.text[part[0] : part[1]]).strip())
                self.loose[n] |= size > 0
                self.direct[n] += size > 0
            else:
                size = self._held(n, part)
            self.size[n] += size
        if e.name == "a":
            self.linked[n], self.links[n] = self.size[n], 1

    def _held(self, n: int, child: int) -> int:
        """What an element gets from one that it holds."""
        size, name = self.size[child], self.elements[child].name
        if not size:
            return 0
        block = name in BLOCKS
        self.direct[n] += 1
        self.linked[n] += self.linked[child]
        self.links[n] += self.links[child]
        self.blocks[n] += self.blocks[child] + block
        self.nested[n] |= self.nested[child] or name in _LISTS
        self.loose[n] |= self.flat(child) or (self.loose[child] and self._unended(child))
        self.open_ended[n] |= name in OPTIONAL_END and self.elements[child].close == self.elements[child].end
        return size

    def _unended(self, n: int) -> bool:
        """Whether an element must have a closing tag and has none: what it holds stands without it."""
        e = self.elements[n]
        return e.close == e.end != len(self.text) and e.name not in OPTIONAL_END

    def _stay(self, n: int) -> bool:
        """Whether an element's tags are kept with what it holds: they say what it is, or set it apart.

        Wrappers and empty elements go, as in HtmlRAG's lossless merge (Tan et al., WWW 2025, §3.2); so do those whose
        end is implied by what may not be kept.
        """
        e = self.elements[n]
        if not self.size[n] or e.name not in BLOCKS or e.name in _ROWS:
            return False
        if e.name not in _MEANT and not self.loose[n] and not self.open_ended[n]:
            several = self.direct[n] > 1
            if e.name not in _SECTIONS or not several:
                return False
        if e.close < e.end or e.end == len(self.text):
            return True
        above = e.parent
        while self.elements[above].name in _ROWS:
            above = self.elements[above].parent
        return e.name in OPTIONAL_END and not self.loose[e.parent] and (above == 0 or self.tags[above])
