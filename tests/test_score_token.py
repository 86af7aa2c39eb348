"""The token scorer: identifiers of the query, titles, quantized levels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from laconic.compressors import Budget, Compressor, Document, Parts, Request, Segment
from laconic.compressors.score_token import BOUND, STEP, identifiers, quantize

from .strategies import texts


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("what belongs to 2a8d601d-1d69-4e64-9f90-8ad825a74195?", ["2a8d601d-1d69-4e64-9f90-8ad825a74195"]),
        ("is CVE-2024-1234 fixed in v1.22.333, or E1001x?", ["CVE-2024-1234", "v1.22.333", "E1001x"]),
        ("who was born in 1932 in room 12b on 2024?", []),
        ("plain words, well-known things", []),
    ],
)
def test_identifiers(query: str, expected: list[str]) -> None:
    """Ids, versions and error numbers are identifiers; words, years and short numbers are not."""
    assert identifiers(query) == expected


@settings(deadline=None)
@given(text=texts)
def test_identifiers_of_anything(text: str) -> None:
    """Any text is answered, with at most twenty."""
    assert len(identifiers(text)) <= 20


def test_levels_fit_a_byte() -> None:
    """Quantized scores take 256 values at most, inside the bound, nearest to what they were."""
    found = quantize(np.linspace(-20, 20, 5001))
    assert len(np.unique(found)) == 256
    assert found.min() == -BOUND
    assert found.max() == BOUND - STEP
    assert abs(quantize(np.array([1.03]))[0] - 1.03) <= STEP / 2


def test_the_identifier_asked_for_survives(compressor: Compressor) -> None:
    """One line of two hundred alike is kept at a small budget, by the id the query names."""
    rng = np.random.default_rng(1)
    ids = ["-".join(rng.bytes(n).hex() for n in (4, 2, 2, 6)) for _ in range(400)]
    lines = [f'"{a}": "{b}",' for a, b in zip(ids[::2], ids[1::2], strict=True)]
    text = "{" + "\n".join(lines) + "}"
    for wanted in (3, 101, 198):
        request = Request(
            documents=[Document(text=text)],
            query=f"Which value belongs to {ids[2 * wanted]}?",
            budget=Budget(kind="rate", value=0.05),
        )
        assert ids[2 * wanted + 1] in compressor(request).text


def test_title_is_context_not_text(fake_parts: Parts) -> None:
    """A title changes what the model sees, not which pieces are scored."""
    bare, titled = (Segment(document=0, start=7, text="It was built.", title=t) for t in (None, "The old bridge"))
    for s in fake_parts.scorer("bridge?", [bare, titled]):
        assert s.pieces.tolist()[0] == [7, 9]
        assert len(s.pieces) == len(s.keep) == 4
