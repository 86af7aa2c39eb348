"""From a generic soft compressor's folder to one ONNX graph: BERT's family, groups pooled by their mean."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .card import Card, LatentFacts, digest
from .load import PROFILES
from .onnx_tools import Int8Embedding, to_int8, to_onnx
from .soft.config import FILE, SoftConfig
from .soft.network import Projector, slot
from .training.network import Encoder, NetworkConfig, bert_weights

POOL = "pool.safetensors"  # all behind the encoder
KEPT = (FILE, "tokenizer.json", POOL)


class _Latents(nn.Module):
    def __init__(self, encoder: Encoder, projector: Projector, skip: bool) -> None:
        super().__init__()
        self.encoder, self.projector, self.skip = encoder, projector, skip

    def forward(self, input_ids: Tensor, groups: Tensor) -> Tensor:
        states = self.encoder(input_ids, torch.arange(input_ids.shape[1])[None], torch.zeros(1, 1))
        latents = self.projector(groups @ states[0])
        if not self.skip:
            return latents
        return latents + (groups @ self.encoder.word(input_ids)[0]) / groups.amax(1, keepdim=True).sqrt()


def convert_soft(source: Path, target: Path, profile: str) -> Card:
    """Write the compressor in `source` to `target` as a model with the ONNX files of `profile`.

    Raises ValueError for what this graph cannot be: another architecture, pooling, or more than one decoder.
    """
    c = SoftConfig.read(source)
    facts = json.loads((source / "encoder" / "config.json").read_text(encoding="utf-8"))
    plain = c.pooling == "mean" and tuple(c.gather) == (-1,) and not c.align and len(c.decoders) == 1
    if facts.get("model_type") != "bert" or not plain:
        raise ValueError(
            "only BERT encoders with mean pooling and one decoder run in ONNX; torch profiles run the rest"
        )
    target.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half() for k, v in load_file(str(source / POOL)).items()}, str(target / POOL))
    for name in KEPT:
        if name != POOL and source != target:
            shutil.copy(source / name, target / name)
    files = [f"soft.{profile.removeprefix('cpu-')}.onnx"]
    network = _Latents(encoder_of(source, facts), projector_of(c, target, facts["hidden_size"]), c.skip)
    with TemporaryDirectory() as folder:
        write(network, Path(folder), target / files[0], profile, c.decoders[next(iter(c.decoders))])
    served = {profile: [*files, FILE]}
    if profile == "cpu-int8":  # torch scales these weights back
        served |= {p: [*files, FILE, POOL] for p, (runner, *_) in PROFILES.items() if runner == "torch"}
    trained = source / "training.json"
    card = Card(
        name=target.name,
        revision="1",
        summary="a small soft compressor: segments to latents",
        licence="Apache-2.0",
        files=served,
        sha256={f: digest(target / f) for f in (*files, *KEPT)},
        kind="soft",
        segment_tokens=c.window,
        latent=LatentFacts(rates=c.rates, decoders=c.decoders, before=c.before, after=c.after, spread=c.spread),
        facts=json.loads(trained.read_text(encoding="utf-8")) if trained.is_file() else {},
    )
    card.write(target)
    return card


def write(network: _Latents, work: Path, path: Path, profile: str, width: int) -> None:
    """The graph of a profile; the projector stays in fp32, what it makes is the answer."""
    small = copy.deepcopy(network)
    if profile == "cpu-int8":
        small.encoder.word = Int8Embedding(network.encoder.word.weight.detach())
    full = path if profile == "cpu-fp32" else work / "soft.onnx"
    example = {"input_ids": torch.randint(1000, 20000, (1, 60)), "groups": torch.rand(14, 60)}
    axes = {"input_ids": {1: "tokens"}, "groups": {0: "latents", 1: "tokens"}, "latents": {0: "latents"}}
    to_onnx(small, full, example, {"latents": False}, axes)
    if profile == "cpu-int8":
        nodes = onnx.load(str(full)).graph.node
        to_int8(full, path, exclude=[n.name for n in nodes if n.name.startswith("/projector")])


def encoder_of(folder: Path, facts: dict[str, int]) -> Encoder:
    """The encoder of a folder's `encoder/`, in our own network."""
    layers = facts["num_hidden_layers"]
    encoder = Encoder(
        NetworkConfig(
            vocab_size=facts["vocab_size"],
            hidden=facts["hidden_size"],
            heads=facts["num_attention_heads"],
            inner=facts["intermediate_size"],
            positions=facts["max_position_embeddings"],
            layers=layers,
            eps=facts.get("layer_norm_eps", 1e-12),
            tapped=(layers,),
        )
    )
    encoder.load_state_dict(bert_weights(load_file(str(folder / "encoder" / "model.safetensors")), layers))
    return encoder.eval()


def projector_of(c: SoftConfig, folder: Path, width: int) -> Projector:
    """The projector of the one decoder, from `pool.safetensors`."""
    name, out = next(iter(c.decoders.items()))
    made, begin = Projector(width, c.projector, out), f"projectors.{slot(name)}."
    held = load_file(str(folder / POOL)).items()
    made.load_state_dict({k.removeprefix(begin): v.float() for k, v in held if k.startswith(begin)})
    return made.eval()
