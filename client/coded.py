"""What `meta.v1` answers: a text with a dictionary before it, and the way back; needs the standard library only.

A coded text is a line `Shorthand:`, a line `§=value` for every entry, an empty line, and the text with each value's
places taken by its character. Where values have line feeds, the first line ends in a character that stands for them in
the dictionary. Values hold no names, so the way back is one pass.
"""

from __future__ import annotations

from typing import NamedTuple

OPENING = "Shorthand:"
# What may stand for a value, in the order of preference: characters that most vocabularies have, that Unicode's
# normal forms leave alone and that nobody takes for a part of a word; then Chinese ones.
NAMES = (
    "§¶†‡¦¬±×÷√∞∂∆∇∈∗∘∧∨∩∪≈≡≤≥⊂⊆⊕⊗⋅←↑→↓↔↦⇒⇄⇌■▪●★☆♠♣♥♦♭♯│─‖‰¡¿¢£¥€₱₹₩₤©®°"
    "一三上下不世中主久之也事二五井京人仁介代伊会佐保信健元光八公内出分前力加勝北区十千南博原口古史司合吉同名和四国土地坂城"
    "堂場士夏外大天太夫女子学安宗定宣宮家宿寺小山岡島川州平年幸弘後心志忠愛成戦戸手政文新方日明星春昭智曲書月有朝木本"
    "李村東松林森楊樹橋歌止正武比氏民水永江沢河治法海清漢瀬火版犬王生田男発白的皇目相省真石示社神福秀秋空立章竹美義耳良"
    "花英華葉藤行街西見語谷貝貴車軍道郎郡部都里野金鈴長門青面風食香馬高龍"
)
MOST = 100_000_000  # characters that `restore` makes of a text it may not trust


class Coded(NamedTuple):
    """A coded text taken apart."""

    values: dict[str, str]  # by name
    body: str


def written(values: dict[str, str], body: str, feed: str = "") -> str:
    """A coded text; `feed` stands for the line feeds of its values, where they have some."""
    lines = [f"{name}={value}".replace("\n", feed or "\n") for name, value in values.items()]
    return "\n".join([OPENING + feed, *lines, "", body])


def parsed(text: str) -> Coded | None:
    """A text's dictionary and body; None where it is not a coded text in every respect."""
    if not text.startswith(OPENING):
        return None
    feed = text[len(OPENING) : len(OPENING) + 1].strip("\n")
    rest = text[len(OPENING) + len(feed) :]
    if not rest.startswith("\n") or (feed and feed not in NAMES):
        return None
    head, found, body = rest.partition("\n\n")
    lines = head[1:].split("\n") if head else []
    if not found or not all(len(line) > 2 and line[0] in NAMES and line[1] == "=" for line in lines):
        return None
    values = {line[0]: line[2:] for line in lines}
    inside = set().union(*values.values())
    if len(values) < len(lines) or feed in values or inside & values.keys() or not values.keys() <= set(body):
        return None
    return Coded({c: v.replace(feed, "\n") if feed else v for c, v in values.items()}, body)


def restore(text: str, most: int = MOST) -> str:
    """The text that `meta.v1` was given, from a document's text in its answer; a text that is not coded as it is.

    Raises ValueError where that would have more than `most` characters.
    """
    coded = parsed(text)
    if coded is None:
        return text
    size = len(coded.body) + sum(coded.body.count(c) * (len(v) - 1) for c, v in coded.values.items())
    if size > most:
        raise ValueError(f"the coded text stands for {size} characters, more than {most}")
    return coded.body.translate({ord(c): v for c, v in coded.values.items()})
