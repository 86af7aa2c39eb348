"""Latents: documents to latents by segments, the cache under them, `/v1/encode` and `/v1/expand` over a real socket."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laconic.client.latents import read_safetensors
from laconic.compressors import Compressor, Document, InvalidRequest, LatentEncoder, TooLarge, codec
from laconic.compressors.texts import Texts, segment_id
from laconic.models import FakeBackend, LatentInput, Model, ModelInput, Scheduler, TextTokenizer
from laconic.models.backend import as_latent
from laconic.models.batching import batches
from laconic.models.fake_backend import FAKE_CARD, FAKE_SOFT
from laconic.service.cache import Lru, Tiers
from laconic.service.settings import Settings

from . import strategies
from .conftest import serving
from .needs import TORCH

STORY = "It rained all day in Geneva. The treaty was signed by Ada Lovelace in 1932. Lunch was good, they said. " * 4


@pytest.fixture(scope="module")
def soft(tokenizer: TextTokenizer) -> Model:
    return Model(card=FAKE_SOFT, tokenizer=tokenizer, backend=Scheduler(FakeBackend(FAKE_SOFT), 2), profile="fake")


def store() -> Tiers:
    return Tiers(Lru(2**20))


@given(st.lists(strategies.texts, max_size=4), st.sampled_from(FAKE_SOFT.latent.rates))
def test_segments_tile_and_latents_count(soft: Model, texts: list[str], rate: int) -> None:
    """Whatever the text: parts follow each other, each has a latent for every `rate` tokens, none is lost."""
    documents = [Document(text=t, id=str(n)) for n, t in enumerate(texts)]
    for d, found in zip(documents, LatentEncoder(soft)(documents, rate), strict=True):
        at = 0
        for p in found.parts:
            assert p.first == at
            at += p.count
            assert 0 <= p.start < p.end <= len(d.text)
        assert [p.start for p in found.parts] == sorted(p.start for p in found.parts)
        assert found.values.shape == (at, FAKE_SOFT.latent.decoders["fake-lm"])
        assert found.values.dtype == np.float32
        assert sum(p.count for p in found.parts) >= -(-found.tokens_in // rate)


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_latents_do_not_depend_on_company_or_cache(soft: Model, precision: str) -> None:
    """Alone, among others, in another order, from the cache or without one: the same bits."""
    documents = [Document(text=STORY[n:], id=str(n)) for n in (0, 7, 40)]
    kept = LatentEncoder(soft, store(), precision)
    alone = [LatentEncoder(soft, None, precision)([d], 4)[0].values for d in documents]
    for encoder in (LatentEncoder(soft, None, precision), kept, kept):
        for order in ((0, 1, 2), (2, 0, 1)):
            for n, found in zip(order, encoder([documents[i] for i in order], 4), strict=True):
                assert np.array_equal(found.values, alone[n])
    assert all(p.cached for d in kept(documents, 4) for p in d.parts)


def test_a_cached_segment_answers_wherever_it_stands(soft: Model) -> None:
    """What was encoded in one document is found again in another; other rates and decoders are kept apart."""
    encoder = LatentEncoder(soft, store())
    first = encoder([Document(text=STORY)], 4)[0]
    assert not any(p.cached for p in first.parts)
    again = encoder([Document(text="Something else stands before it all. " + STORY)], 4)[0]
    assert sum(p.cached for p in again.parts) >= len(first.parts) - 2
    assert not any(p.cached for p in encoder([Document(text=STORY)], 2)[0].parts)
    other = encoder([Document(text=STORY)], 4, "other")[0]
    assert not any(p.cached for p in other.parts)
    assert other.values.shape[1] == FAKE_SOFT.latent.decoders["other"]


def test_a_damaged_value_is_encoded_again(soft: Model) -> None:
    """A value that does not decode is a miss, not an error."""
    kept = store()
    encoder = LatentEncoder(soft, kept)
    before = encoder([Document(text=STORY)], 4)[0].values
    for key in list(kept.lru._values):
        kept.lru.put({key: b"broken"})
    found = encoder([Document(text=STORY)], 4)[0]
    assert np.array_equal(found.values, before)
    assert not any(p.cached for p in found.parts)


@pytest.mark.parametrize(("rate", "decoder", "param"), [(3, None, "rate"), (4, "gpt-9", "decoder")])
def test_what_the_model_does_not_make_is_refused(soft: Model, rate: int, decoder: str | None, param: str) -> None:
    """The error names the field and what there is."""
    with pytest.raises(InvalidRequest) as e:
        LatentEncoder(soft)([Document(text=STORY)], rate, decoder)
    assert e.value.param == param


def test_no_more_numbers_than_may_be_asked_for(soft: Model) -> None:
    """The limit is held before anything is encoded, and is told."""
    before = soft.backend.forwards
    with pytest.raises(TooLarge, match="160 may be asked for"):
        LatentEncoder(soft, most=160)([Document(text=STORY)], 4)
    assert soft.backend.forwards == before
    assert LatentEncoder(soft, most=160)([Document(text="Lunch was good, they said.")], 4)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (LatentInput(ids=(7,), rate=3), "fake-soft has no rate 3; there are 2, 4"),
        (LatentInput(ids=(7,), rate=2, decoder="gpt-9"), "fake-soft has no decoder 'gpt-9'; there are fake-lm, other"),
    ],
)
def test_every_runner_is_asked_in_one_way(asked: LatentInput, message: str) -> None:
    """What is not on the card is refused by name; a sign of life is a text at the first rate, for the first decoder."""
    with pytest.raises(ValueError, match=f"^{message}$"):
        as_latent(asked, FAKE_SOFT)
    with pytest.raises(ValueError, match="fake makes no latents"):
        as_latent(asked, FAKE_CARD)
    probe = ModelInput(query=(), segment=(7, 8), skip=0, count=0)
    assert as_latent(probe, FAKE_SOFT) == LatentInput(ids=(7, 8), rate=2, decoder="fake-lm")


def test_batches_are_of_similar_length() -> None:
    """Together, none is more than a quarter longer than the shortest beside it; otherwise each is alone."""
    asked = [LatentInput(ids=(7,) * n, rate=2) for n in (50, 10, 40, 12, 13, 99)]
    assert list(batches(asked, [0, 1, 2, 3, 4], together=True)) == [[1, 3], [4], [2, 0]]
    assert list(batches(asked, [3, 0], together=False)) == [[3], [0]]


@given(
    st.integers(0, 5),
    st.integers(1, 9),
    st.sampled_from(["float16", "int8"]),
    st.floats(1e-6, 1e6),
    st.integers(0, 2**32 - 1),
)
def test_codec_keeps_what_it_promises(count: int, width: int, precision: str, size: float, seed: int) -> None:
    """A value opens as itself again, to a half's or a byte's precision; what a half cannot hold is kept whole."""
    values = np.random.default_rng(seed).normal(0, size, (count, width)).astype(np.float32)
    packed = codec.pack_latents(values, precision)
    found = codec.unpack_latents(packed)
    assert found is not None
    assert found.shape == values.shape
    largest = np.abs(values).max(1, keepdims=True, initial=0)
    tolerance = largest / 200 + 1e-9 if precision == "int8" else np.abs(values) / 1000 + 1e-7
    assert (np.abs(found - values) <= tolerance).all()
    assert codec.pack_latents(found, precision) == packed or precision == "int8"
    for cut in (packed[:-1], packed + b"x", b"", packed[:5], b"\x09" + packed[1:]):
        assert codec.unpack_latents(cut) is None


def test_texts_are_found_until_they_expire() -> None:
    """By their names, while they last; a damaged one is none."""
    kept = store()
    Texts(kept, 60).keep(["one", "zwei \ud800"])
    names = [segment_id("one"), segment_id("zwei \ud800"), segment_id("three")]
    assert Texts(kept, 60).find(names) == ["one", "zwei \ud800", None]
    Texts(kept, -1).keep(["one"])
    assert Texts(kept, 60).find(names[:1]) == [None]
    for key in list(kept.lru._values):
        kept.lru.put({key: b"12345678other"})
    assert Texts(kept, 60).find(names) == [None, None, None]


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """The real model; texts are kept."""
    with serving(Settings(expand_ttl_seconds=60)) as address:
        yield address


def encode(address: str, **body: object) -> httpx.Response:
    return httpx.post(f"{address}/v1/encode", json=body, timeout=60)


DOCUMENTS = [{"id": "a", "text": STORY, "metadata": {"page": 1}}, {"id": "b", "text": "Paris has many bridges."}]


def test_encode_over_the_wire(served: str) -> None:
    """All three formats hold the same numbers; counts, bounds and metadata are true."""
    response = encode(served, documents=DOCUMENTS, rate=4, dtype="float32")
    assert response.status_code == 200, response.text
    found = read_safetensors(response.content)
    answer = found.answer
    assert [d.id for d in answer.documents] == ["a", "b"]
    assert answer.documents[0].metadata == {"page": 1}
    arrays = [found.tensors[str(n)].array() for n in range(2)]
    for d, array, source in zip(answer.documents, arrays, DOCUMENTS, strict=True):
        assert array.shape == (d.latents, answer.width)
        assert d.segments[0][0] == 0
        assert d.segments[-1][1] == len(source["text"])
        assert sum(n for *_, n, _ in d.segments) == d.latents
    assert answer.usage.latents == sum(d.latents for d in answer.documents)
    assert answer.usage.latents <= answer.usage.tokens_in / 4 + answer.usage.segments
    as_json = encode(served, documents=DOCUMENTS, rate=4, dtype="float32", format="json").json()
    assert np.array_equal(np.array(as_json["documents"][0]["values"], np.float32), arrays[0])
    assert as_json["usage"]["cache_hits"] == as_json["usage"]["segments"]
    joined = read_safetensors(encode(served, documents=DOCUMENTS, rate=4, dtype="float32", join=True).content)
    assert np.array_equal(joined.tensors["latents"].array(), np.concatenate(arrays))
    half = read_safetensors(encode(served, documents=DOCUMENTS, rate=4).content).tensors["0"].array()
    assert np.array_equal(half, arrays[0].astype(np.float16))


def test_vllm_bytes_load_in_torch(served: str) -> None:
    """What is emitted for vLLM opens with `torch.load(weights_only=True)` and is what safetensors says."""
    torch = pytest.importorskip("torch", reason=TORCH)
    import base64
    import io

    for dtype in ("float16", "bfloat16", "float32"):
        as_json = encode(served, text=STORY, format="vllm", dtype=dtype).json()
        held = torch.load(io.BytesIO(base64.b64decode(as_json["documents"][0]["data"])), weights_only=True)
        same = read_safetensors(encode(served, text=STORY, dtype=dtype).content).tensors["0"].torch()
        assert held.dtype == getattr(torch, dtype)
        assert torch.equal(held, same)


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"text": "x", "rate": 3}, 422, "rate"),
        ({"text": "x", "model": "nobody"}, 404, "model"),
        ({"text": "x", "model": "laconic-mini"}, 422, "model"),
        ({"text": "x", "decoder": "gpt-9"}, 422, "decoder"),
        ({"text": "x", "documents": []}, 422, None),
        ({"documents": [{"id": "a", "text": "x"}, {"id": "a", "text": "y"}]}, 422, "documents"),
        ({"text": "x", "format": "pickle"}, 422, "format"),
    ],
)
def test_encode_refuses(served: str, body: dict[str, object], status: int, param: str | None) -> None:
    """In the one shape of errors, naming the field."""
    response = encode(served, **body)
    assert response.status_code == status
    assert response.json()["error"]["param"] == param


@pytest.mark.parametrize("text", ["", " ", "\n\n", "a", "\u0000", "🙂" * 50, "x" * 20_000])
def test_encode_survives(served: str, text: str) -> None:
    """Empty, tiny and odd texts have the latents they have."""
    response = encode(served, text=text, format="json")
    assert response.status_code == 200
    assert len(response.json()["documents"][0]["values"]) == response.json()["usage"]["latents"]


def test_expand_opens_what_was_skimmed(served: str) -> None:
    """Names from encode and compress lead to the segments' texts; unknown names to none."""
    answer = read_safetensors(encode(served, documents=DOCUMENTS).content).answer.documents[0]
    body = {"text": STORY, "query": "Who signed?", "return": ["text", "segments"]}
    found = httpx.post(f"{served}/v1/compress", json=body, timeout=30).json()["documents"][0]["segments"]
    ids = [*(answer.ids or []), *(i for *_, i in found), "0" * 64]
    opened = httpx.post(f"{served}/v1/expand", json={"ids": ids}).json()["segments"]
    texts = [STORY[a:b] for a, b, *_ in answer.segments] + [STORY[a:b] for a, b, _ in found]
    assert [s.get("text") for s in opened] == [*texts, None]
    assert httpx.post(f"{served}/v1/expand", json={"ids": ["short"]}).status_code == 422


def test_texts_are_kept_only_where_asked(address: str) -> None:
    """By default nothing is kept: no names, and a clear refusal."""
    assert read_safetensors(encode(address, text=STORY).content).answer.documents[0].ids is None
    refused = httpx.post(f"{address}/v1/expand", json={"ids": ["0" * 64]})
    assert refused.status_code == 404
    assert "--expand-ttl-seconds" in refused.json()["error"]["message"]
    body = {"text": STORY, "return": ["segments"]}
    assert httpx.post(f"{address}/v1/compress", json=body).status_code == 422


def test_shell_writes_a_file(tmp_path: Path) -> None:
    """`laconic encode` writes safetensors; a rate that is not there is a wrong call."""
    source, out = tmp_path / "a.txt", tmp_path / "a.safetensors"
    source.write_text(STORY)
    command = [sys.executable, "-m", "laconic.service", "encode", str(source), "--out", str(out)]
    done = subprocess.run([*command, "--rate", "8", "--json"], capture_output=True, text=True, check=True)
    found = read_safetensors(out.read_bytes())
    assert found.answer.rate == 8
    assert json.loads(done.stdout)["usage"]["latents"] == found.tensors["0"].shape[0]
    assert subprocess.run([*command, "--rate", "5"], capture_output=True).returncode == 2


def test_the_embedded_model_is_the_same_alone_and_together(compressor: Compressor) -> None:
    """Real weights: any company, any order, the same bits; closer to its fp32 self than to any other text's."""
    encoder = compressor.encoder()
    documents = [Document(text=STORY[n : n + 300], id=str(n)) for n in range(0, 60, 10)]
    together = encoder(documents, 4)
    for d, found in zip(documents, together, strict=True):
        assert np.array_equal(encoder([d], 4)[0].values, found.values)
