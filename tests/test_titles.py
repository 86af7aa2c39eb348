"""What a document is about is found in its own words, and links follow it as they follow a title in a field."""

from __future__ import annotations

import pytest

from laconic.compressors import Budget, Compressor, Document, Request
from laconic.compressors.titles import LONGEST, title_of

BODY = "The film was shot in Malta over six weeks. Its director was Ada Lind."


@pytest.mark.parametrize(
    ("text", "title"),
    [
        (f"# The Long Road\n\n{BODY}", "The Long Road"),
        (f"\n\n## **The Long Road** ##\n{BODY}", "The Long Road"),
        (f"The Long Road\n=============\n{BODY}", "The Long Road"),
        (f"**The Long Road**\n{BODY}", "The Long Road"),
        (f"The Long Road\n{BODY}", "The Long Road"),
        (f"\ufeffThe Long Road\r\n\r\n{BODY}", "The Long Road"),
        (f"The Long Road (1962 film)\n\n{BODY}", "The Long Road (1962 film)"),
        (f"Title: The Long Road\n{BODY}", "The Long Road"),
        (f"Titre : La Longue Route\n{BODY}", "La Longue Route"),
        (f"标题：漫长的路\n{BODY}", "漫长的路"),
        (f"漫长的路\n\n{BODY}", "漫长的路"),
        (f'---\nlayout: post\ntitle: "The Long Road"\n---\n{BODY}', "The Long Road"),
        (f"---\nlayout: post\n---\n# The Long Road\n{BODY}", "The Long Road"),
        (f"<html><head><title>The Long &amp; Old Road</title></head><body>{BODY}</body></html>", "The Long & Old Road"),
        (f"<h1 class='a'>The <em>Long</em> Road</h1><p>{BODY}</p>", "The Long Road"),
        (f"# [The Long Road](https://example.com/road)\n{BODY}", "The Long Road"),
    ],
)
def test_a_title_is_found_in_the_text(text: str, title: str) -> None:
    assert title_of(text) == title


@pytest.mark.parametrize(
    "text",
    [
        "",
        BODY,
        "The Long Road",  # all there is
        f"{BODY}\n{BODY}",  # a sentence
        "It was shot in Malta, on the island's\nsouthern coast, over six weeks.",  # a wrapped line
        "Ben: Is June possible?\nCara: June is fine.",
        "- Malta\n- Gozo",
        "1. Boil the water\n2. Add the rice",
        "| place | weeks |\n|---|---|\n| Malta | 6 |",
        "import os\nimport sys",
        '{"title": "The Long Road",\n "weeks": 6}',
        f"{'The Long Road ' * 20}\n\n{BODY}",
        "Dear Ms Lind,\n\nthank you for the film.",
        f"---\n{'x' * 5000}",
        "<" * 5000,
    ],
)
def test_what_is_no_title_is_not_taken_for_one(text: str) -> None:
    assert title_of(text) == ""


def test_titles_are_bounded() -> None:
    assert title_of("# " + "x" * LONGEST + f"\n{BODY}") == "x" * LONGEST
    assert title_of("# " + "x" * (LONGEST + 1) + f"\n{BODY}") == ""


FILMS = [
    ("The Long Road", "The Long Road is a film of 1962. It was directed by Ada Lind and shot in Malta."),
    ("Ada Lind", "She was born in Bergen in 1921. Her sister painted."),
    ("Old Harbour", "The harbour was built in 1890. It was born of a need for timber ships."),
    ("Carl Berg", "He was born in Oslo in 1930. He liked to paint."),
    ("Winter Sea", "Winter Sea is a film of 1971. It was directed by Carl Berg."),
]


def test_a_title_in_the_text_links_as_one_in_the_field_does(compressor: Compressor) -> None:
    def scores(documents: list[Document]) -> list[float]:
        query = "Where was the director of The Long Road born?"
        found = compressor(Request(documents=documents, query=query, budget=Budget(kind="rate", value=0.4)))
        return [float(d.scores.max()) for d in found.documents if d.scores is not None]

    plain = scores([Document(text=text) for _, text in FILMS])
    lines = scores([Document(text=f"{title}\n{text}") for title, text in FILMS])
    assert lines[1] > 2 * plain[1]  # named by the sentence that answers the first half
    assert lines[1] > lines[3]
