"""What JSON cannot say, or says too deep: the caller is told before anything is sent, and a batch goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from laconic.client import AsyncClient, Client, CompressRequest, DocumentBody, InvalidRequest
from laconic.client.wire import DEPTH, deeper, plain_json
from laconic.models import Model
from laconic.service.settings import Settings

from .conftest import serving
from .test_client import TEXT, Stub, answer
from .test_edge import With


def nested(levels: int) -> dict[str, Any]:
    held: dict[str, Any] = {"page": 3}
    for n in range(levels - 1):
        held = {"in": held} if n % 2 else {"in": held, "list": [1]}
    return held


def own() -> dict[str, Any]:
    held: dict[str, Any] = {}
    held["self"] = [held]
    return held


BAD = {
    "deep": nested(DEPTH + 1),
    "read-by-no-parser": nested(200),
    "written-by-no-writer": nested(300),
    "deeper-than-the-stack": nested(100_000),
    "itself": own(),
    "bytes": {"a": b"x"},
    "object": {"a": [object()]},
    "nan": {"a": float("nan")},
    "surrogate": {"\ud800": 1},
    "number-no-text-has": {"a": 10**5000},
    "key": {"a": {(1, 2): 3}},
}


@pytest.fixture(scope="module")
def url(fake_model: Model) -> Iterator[str]:
    with serving(Settings(), With(fake_model)) as address:
        yield address


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_metadata_that_no_json_can_carry_is_never_sent(bad: dict[str, Any]) -> None:
    """It is InvalidRequest that names the field, and no failure of the service: it does not fail open."""
    with Stub((200, {}, answer())) as stub, Client(stub.url, fail_open=True) as client:
        with pytest.raises(InvalidRequest) as e:
            client.compress([{"text": "a", "metadata": bad}])
        assert (e.value.code, e.value.param) == ("invalid_field", "documents.0.metadata")
        assert stub.asked == []


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_line_that_cannot_be_sent_is_its_own_error(url: str, kind: str) -> None:
    """Also where a body was changed after it was checked; the lines around it are answered, in order."""
    changed = CompressRequest(documents=[DocumentBody(text="a", metadata={})])
    assert changed.documents
    changed.documents[0].metadata = {"a": object()}
    half = CompressRequest(text="a")
    half.text = "\ud800"
    bad = [{"documents": [{"text": "a", "metadata": m}]} for m in BAD.values()]
    given = [{"text": "a b c"}, *bad, changed, half, {"documents": [{"text": "a b", "metadata": nested(DEPTH)}]}]

    async def rows() -> list[Any]:
        async with AsyncClient(url) as client:
            return [row async for row in client.compress_batch(given, fail_open=True)]

    if kind == "sync":
        with Client(url) as client:
            found = list(client.compress_batch(given, fail_open=True))
    else:
        found = asyncio.run(rows())
    assert [r.status for r in found] == [200, *([422] * (len(bad) + 2)), 200]
    assert [r.index for r in found] == list(range(len(given)))
    assert all(r.answer is None for r in found[1:-1])
    assert found[-1].answer.documents[0].metadata == nested(DEPTH)


def test_what_may_be_sent_can_be_read_back(url: str) -> None:
    """As deep as the contract allows goes up and comes back, alone and by the batch."""
    document = {"text": TEXT, "metadata": nested(DEPTH)}
    with Client(url) as client:
        assert client.compress([document]).documents[0].metadata == nested(DEPTH)


def test_depth_is_counted_without_the_stack() -> None:
    """By level, each container once: what is shared doubles nothing, and siblings add nothing."""
    shared: list[Any] = []
    for _ in range(DEPTH - 1):
        shared = [shared, shared]
    assert not deeper(shared, DEPTH)
    assert deeper([shared], DEPTH)
    assert plain_json({"a": [1, "b", None], "b": {}}) == {"a": [1, "b", None], "b": {}}
    assert not deeper("text", 0)
