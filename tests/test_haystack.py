"""laconic in Haystack: what becomes of a document, over the few names that the component takes from it."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest

from laconic.client.wire import CompressAnswer, DocumentAnswer, UsageAnswer


@dataclass
class Document:
    """As far as it is used, what Haystack's own is."""

    content: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    score: float | None = None


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> Any:
    def component(kind: type) -> type:
        return kind

    component.output_types = lambda **_: lambda run: run  # type: ignore[attr-defined]
    names = {"Document": Document, "component": component, "default_from_dict": None, "default_to_dict": None}
    secrets = {"Secret": object, "deserialize_secrets_inplace": None}
    for name, held in (("haystack", names), ("haystack.utils", secrets)):
        monkeypatch.setitem(sys.modules, name, module := ModuleType(name))
        vars(module).update(held)
    monkeypatch.delitem(sys.modules, "laconic.client.haystack", raising=False)
    yield importlib.import_module("laconic.client.haystack")
    sys.modules.pop("laconic.client.haystack", None)


def test_a_documents_score_is_the_last_one_given(adapter: Any) -> None:
    """The recipe's own where it has one, be it 0; the retriever's where it has none."""
    rows = [
        DocumentAnswer(id=str(n), text="kept", spans=[(0, 4)], score=score, tokens_in=1, tokens_out=1, cached="0/1")
        for n, score in enumerate((0.0, 0.75, None))
    ]
    usage = UsageAnswer(tokens_in=3, tokens_out=3, rate=1.0, segments=3, cache_hits=0, compute_ms=0.0)
    answer = CompressAnswer(id="x", recipe="token.v1", reader="r", documents=rows, usage=usage, warnings=[])
    image = Document(score=0.25)
    found = adapter.kept([Document("kept", {"n": n}, 0.5) for n in range(3)] + [image], answer)
    assert [d.score for d in found] == [0.0, 0.75, 0.5, 0.25]
    assert found[1].meta == {"n": 1, "spans": [[0, 4]]}
    assert found[3] is image
