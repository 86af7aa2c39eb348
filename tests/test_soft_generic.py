"""Generic soft compressors: every pooling over tiny encoders, trained by the command, opened, exported, refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from laconic.compressors import Compressor, Document
from laconic.models import Card, LatentFacts, LatentInput, ModelError, load_model
from laconic.models.card import CardError
from laconic.models.catalogue import EMBEDDED
from laconic.models.soft.config import SoftConfig

from .needs import RANK, TORCH

torch = pytest.importorskip("torch", reason=TORCH)
transformers = pytest.importorskip("transformers", reason=RANK)

from safetensors.torch import load_file, save_file  # noqa: E402

from laconic.models.soft.backend import SoftBackend  # noqa: E402
from laconic.models.soft.generic import GenericNetwork  # noqa: E402
from laconic.models.soft.network import SoftNetwork  # noqa: E402
from laconic.models.training import lora  # noqa: E402
from laconic.models.training.__main__ import main  # noqa: E402
from laconic.models.training.losses import part_of  # noqa: E402
from laconic.models.training.soft import SoftRun, build  # noqa: E402

from .test_training import data  # noqa: E402, F401

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's exporter warns of its own future
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertConfig", {**SIZES, "vocab_size": 500, "max_position_embeddings": 128}),
    "xlm-roberta": ("XLMRobertaConfig", {**SIZES, "vocab_size": 500, "max_position_embeddings": 128}),
    "llama": ("LlamaConfig", {**SIZES, "vocab_size": 500, "num_key_value_heads": 2, "max_position_embeddings": 128}),
}
POOLINGS: dict[str, dict[str, Any]] = {
    "mean": {},
    "memory": {},
    "query": {},
    "last": {"causal": True},
    "mean-gathered": {"gather": (0, 1, -1)},
    "mean-aligned": {"align": 1, "projector": 16},
    "mean-skip": {"skip": True},
}


def made(encoder: str, pooling: str) -> tuple[SoftBackend, SoftNetwork]:
    """A backend over random weights, fp32."""
    name, facts = ENCODERS[encoder]
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(getattr(transformers, name)(**facts)).eval()
    more = {"prefix": (1,), "suffix": (2, 3)} if encoder != "llama" else {}
    c = SoftConfig(
        rates=(2, 4), window=24, decoders={"a.b": 32, "c": 40 if pooling != "mean-skip" else 32},
        **{"pooling": pooling.partition("-")[0], **POOLINGS[pooling]}, **more,
    )  # fmt: skip
    network = SoftNetwork(model, c).eval()
    for p in network.parameters():
        if p.dim() > 1:
            p.data *= 3  # so that attention differs from token to token
    latent = LatentFacts(rates=c.rates, decoders=c.decoders)
    card = Card(
        name="t", revision="1", summary="", licence="", files={}, sha256={},
        kind="soft", segment_tokens=24, latent=latent,
    )  # fmt: skip
    return SoftBackend(card, GenericNetwork(network)), network


def inputs(rate: int, decoder: str = "") -> list[LatentInput]:
    rng = np.random.default_rng(0)
    return [
        LatentInput(ids=tuple(map(int, rng.integers(10, 500, n))), rate=rate, decoder=decoder) for n in (7, 1, 24, 12)
    ]


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_pooling(encoder: str, pooling: str) -> None:
    """A latent for every `rate` tokens, as wide as the decoder; the same bits in any company, nearly so padded."""
    backend, _ = made(encoder, pooling)
    for decoder, width in backend.latent.decoders.items():
        found = backend.forward(inputs(4, decoder), True)
        assert [f.shape for f in found] == [(-(-i.tokens // 4), width) for i in inputs(4, decoder)]
    turned = backend.forward(inputs(4, decoder)[::-1], False)[::-1]
    for one, again, i in zip(found, turned, inputs(4, decoder), strict=True):
        assert np.array_equal(one, again)
        assert np.array_equal(one, backend.forward([i], True)[0])
    with torch.inference_mode():
        padded = backend._encode(inputs(4, decoder))
    for one, beside in zip(found, padded, strict=True):
        assert np.abs(one - beside).max() < 1e-4


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_groups_are_what_they_say(pooling: str) -> None:
    """Mean pooling of a group and the last state of a group, beside the encoder's own states."""
    backend, network = made("bert", pooling)
    ids = inputs(4)[0].ids
    with torch.no_grad():
        states = network.encoder(torch.tensor([[1, *ids, 2, 3]])).last_hidden_state[0, 1:-2]
        rows = [states[0:4], states[4:7]]
        pooled = torch.stack([r.mean(0) if pooling == "mean" else r[-1] for r in rows])
        wanted = network.pool.projectors["a_b"](pooled)
    assert np.abs(backend.forward(inputs(4, "a.b")[:1], True)[0] - wanted.numpy()).max() < 1e-5


def test_a_decoder_used_as_encoder_looks_both_ways() -> None:
    """Unless it is told to be causal: then what comes later changes nothing before."""
    for causal in (False, True):
        backend, network = made("llama", "mean")
        network.config = replace(network.config, causal=causal)
        ids = inputs(4)[2].ids
        first, other = (backend.forward([LatentInput(ids=x, rate=4)], True)[0] for x in (ids, (*ids[:-1], ids[-1] ^ 1)))
        assert np.array_equal(first[:5], other[:5]) == causal


def test_adapters_merge_into_what_they_were() -> None:
    """A model with trained adapters and the same model after merging say the same."""
    torch.manual_seed(0)
    name, facts = ENCODERS["bert"]
    model = transformers.AutoModel.from_config(getattr(transformers, name)(**facts)).eval()
    ids = torch.tensor([[5, 6, 7]])
    before = model(ids).last_hidden_state
    assert lora.adapt(model, 4) == 4
    assert torch.equal(model(ids).last_hidden_state, before)
    for p in model.parameters():
        if p.requires_grad:
            torch.nn.init.normal_(p, std=0.3)
    trained = model(ids).last_hidden_state
    assert not torch.allclose(trained, before, atol=1e-3)
    lora.merge(model)
    assert torch.allclose(model(ids).last_hidden_state, trained, atol=1e-5)
    with pytest.raises(ValueError, match="no linear map"):
        lora.adapt(torch.nn.Sequential(torch.nn.Linear(2, 2)), 4)


def test_a_sampled_softmax_stands_for_the_whole() -> None:
    """Over all words it is the softmax itself; of words that weigh the same, some stand for all that were not drawn."""
    logits, target = torch.randn(6, generator=torch.Generator().manual_seed(0)), 2
    everything = torch.logsumexp(logits, 0) - logits[target]
    for certain, drawn in (([2, 0, 5, 1, 3, 4], []), ([2], [5, 1, 3, 0, 4])):
        chosen, raised, place = part_of(6, torch.tensor(certain), torch.tensor(drawn, dtype=torch.long))
        shown = logits[chosen] + raised
        assert torch.allclose(torch.logsumexp(shown, 0) - shown[place[target]], everything)
    chosen, raised, _ = part_of(1000, torch.tensor([2]), torch.tensor([7, 9]))
    assert chosen.tolist() == [2, 7, 9]
    assert raised.exp().sum() == pytest.approx(1000)


def save(folder: Path, config: str, facts: dict[str, Any], decoder: bool) -> Path:
    """A Hugging Face folder of random weights over the embedded vocabulary."""
    torch.manual_seed(1)
    c = getattr(transformers, config)(**facts)
    kind = transformers.AutoModelForCausalLM if decoder else transformers.AutoModel
    kind.from_config(c).save_pretrained(folder)
    shutil.copy(EMBEDDED / "laconic-mini" / "tokenizer.json", folder / "tokenizer.json")
    return folder


@pytest.fixture
def decoder(tmp_path: Path) -> Path:
    return save(tmp_path / "tiny-llama", "LlamaConfig", {**ENCODERS["llama"][1], "vocab_size": 30522}, True)


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return save(tmp_path / "tiny-bert", "BertConfig", {**ENCODERS["bert"][1], "vocab_size": 30522}, False)


def train(monkeypatch: pytest.MonkeyPatch, *more: str) -> None:
    monkeypatch.setattr("sys.argv", ["training", "soft", *more])
    main()


@pytest.fixture
def trained(
    data: Path,  # noqa: F811
    decoder: Path,
    encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """What the command writes: three steps, stopped after two, the decoder frozen."""
    from .test_training import write

    text = " ".join(f"Town {n} has a bridge that Ada built when it rained in year {n * 7}." for n in range(150))
    write(data / "wikipedia-0.jsonl.xz", [{"id": f"w{n}", "title": "Towns", "text": text} for n in range(80)])
    out = tmp_path / "models" / "mine"
    told = ["--data", str(data), "--work", str(tmp_path / "work"), "--decoder", str(decoder), "--out", str(out)]
    told += ["--encoder", str(encoder), "--batch", "96", "--window", "32", "--context", "48", "--rates", "2", "4"]
    told += ["--every", "2", "--start", "[CLS]"]
    train(monkeypatch, *told, "--steps", "2")
    train(monkeypatch, *told, "--steps", "3")
    steps = [json.loads(line)["step"] for line in (tmp_path / "work" / "soft.jsonl").read_text().splitlines()]
    assert steps == [0, 1, 2]
    return out


def test_train_open_export(trained: Path, decoder: Path, tmp_path: Path) -> None:
    """The command's folder serves; the decoder is as it was; ONNX in fp32 says the same, in int8 nearly so."""
    compressor = Compressor(models_dir=trained.parent)
    documents = [Document(text="Town 7 has a bridge that Ada built. " * 9)]
    (found,) = compressor.encoder("mine")(documents, 4)
    assert found.values.shape[1] == 32
    assert not (trained / "decoder").exists()
    facts = json.loads((trained / "training.json").read_text())
    assert facts["training"]["decoder"] == f"{decoder.name}, frozen"
    assert {"again@1", "again@2", "again@4"} <= facts["curve"][-1][1].keys()

    from laconic.models.export import convert

    same = convert(trained, tmp_path / "onnx" / "mine", "cpu-fp32")
    small = convert(trained, tmp_path / "small" / "mine", "cpu-int8")
    for card, profile, most in ((same, "cpu-fp32", 2e-3), (small, "cpu-int8", 0.4)):
        folder = tmp_path / ("onnx" if profile == "cpu-fp32" else "small")
        other = Compressor(models_dir=folder, profile=profile).encoder("mine")
        assert other.model.profile == profile
        values = other(documents, 4)[0].values
        assert np.linalg.norm(values - found.values) <= most * np.linalg.norm(found.values)
        card.verify(folder / "mine", sorted(card.sha256))
    back = load_model(tmp_path / "small" / "mine", "cpu-int8")
    torch_ = load_model(tmp_path / "small" / "mine", "torch-fp32")
    i = [LatentInput(ids=(2000, 2001, 2002, 2003, 2004), rate=2)]
    a, b = back.backend.run(i)[0], torch_.backend.run(i)[0]
    assert np.linalg.norm(a - b) < 0.4 * np.linalg.norm(b)


@pytest.mark.parametrize(("pooling", "causal"), [("last", True), ("mean", False)])
def test_a_decoder_trained_as_encoder_keeps_its_mask(
    encoder: Path, decoder: Path, tmp_path: Path, pooling: Any, causal: bool
) -> None:
    """Where its latents are read off the end of a group or of the text; a mean looks both ways."""
    told = {"data": tmp_path, "work": tmp_path, "base": tmp_path, "decoder": decoder, "pooling": pooling, "window": 24}
    assert build(SoftRun(**told, encoder=decoder)).network.config.causal == causal
    assert not build(SoftRun(**told, encoder=encoder)).network.config.causal


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "pool.safetensors").unlink(), "pool.safetensors"),
        (lambda f: (f / "pool.safetensors").write_bytes((f / "pool.safetensors").read_bytes()[:-9]), "cut short"),
        (lambda f: edit(f / "soft.json", decoders={"x": 10**6}), "width"),
        (lambda f: edit(f / "soft.json", decoders={"tiny-llama": 64}), "the configuration asks for"),
        (lambda f: edit(f / "soft.json", pooling="magic"), "magic"),
        (lambda f: edit(f / "soft.json", window=4096), "positions"),
        (lambda f: edit(f / "soft.json", unknown=1), "unknown"),
        (lambda f: (f / "encoder" / "config.json").unlink(), "config.json"),
        (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json"),
        (lambda f: drop(f / "encoder" / "model.safetensors", "embeddings.word_embeddings.weight"), "lack"),
    ],
)
def test_spoilt_folders_are_refused(trained: Path, spoil: Any, message: str) -> None:
    """With the file and what is wrong with it, before the weights are read where a header tells."""
    spoil(trained)
    with pytest.raises((ModelError, CardError), match=message):
        load_model(trained, "torch-fp32")


def edit(path: Path, **more: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))


def drop(path: Path, name: str) -> None:
    held = load_file(str(path))
    del held[name]
    save_file(held, str(path), metadata={"format": "pt"})
