"""The invariance contract, for every numeric profile: odd lengths, alone, batched, padded, other thread counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from laconic.compressors.score_token import quantize
from laconic.models import (
    MARKS,
    Card,
    Coded,
    CodeInput,
    EduInput,
    EduOutput,
    LateInput,
    ModelError,
    ModelInput,
    ModelOutput,
    load_model,
)
from laconic.models.backend import Forward
from laconic.models.catalogue import EMBEDDED
from laconic.models.onnx_backend import OnnxBackend

from .needs import TORCH

MINI = EMBEDDED / "laconic-mini"
LENGTHS = [*range(1, 34), 47, 63, 64, 65, 79, 95, 97, 113, 127, 128, 129, 151, 191, 193, 223, 239, 240]
EXACT = ("cpu-int8", "cpu-fp32")
FLIPS = 0.002  # of scores, one step of 1/16 apart, where a batch mate may change the last digit


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model with its fp32 files beside the int8 ones."""
    pytest.importorskip("torch", reason=TORCH)
    from laconic.models.export import convert

    target = tmp_path_factory.mktemp("models") / "laconic-mini"
    convert(MINI, target, "cpu-fp32")
    return target


def gpu() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


@pytest.fixture(scope="module", params=[*EXACT, "torch-fp32", "gpu-fp16"])
def opened(request: pytest.FixtureRequest, folder: Path) -> tuple[str, Callable[[int], Forward]]:
    """A profile, and how to open it for a number of threads."""
    profile = request.param
    if profile == "gpu-fp16" and not gpu():
        pytest.skip("no GPU here")
    card = Card.read(folder)
    if profile in EXACT:
        assert card.late is not None and card.edu is not None
        named = (card.files, card.late.files, card.edu.files)
        paths, late, edu = ([folder / f for f in files[profile]] for files in named)
        return profile, lambda threads: OnnxBackend(card, paths, threads, late, edu)
    forward = load_model(folder, profile).backend.forward
    return profile, lambda threads: forward


def inputs() -> list[ModelInput]:
    rng = np.random.default_rng(1)
    out = []
    for i, n in enumerate(LENGTHS):
        body = (101, *map(int, rng.integers(1000, 20000, n)), 102)
        query = (101, *map(int, rng.integers(1000, 20000, 1 + i % 17)), 102) if i % 4 else ()
        out.append(ModelInput(query=query, segment=body, skip=1, count=n))
    return out


def late(forward: Forward, given: list[ModelInput], size: int) -> np.ndarray:
    """Scores of the late head for the same inputs, `size` at a time: coded first, then matched."""
    sides = [*(i.segment for i in given), *(i.query for i in given if i.query)]
    codes = {}
    for at in range(0, len(sides), size):
        some = sides[at : at + size]
        found = forward.forward([CodeInput(ids=s) for s in some], False)
        codes |= dict(zip(some, found, strict=True))
    assert all(np.array_equal(c.ids, s) and len(c.codes) == len(s) for s, c in codes.items())
    width = forward.card.late.code
    none = Coded(ids=np.zeros(0, np.int64), codes=np.zeros((0, width), np.int8))
    wanted = [
        LateInput(query=codes[i.query] if i.query else none, segment=codes[i.segment], skip=i.skip, count=i.count)
        for i in given
    ]
    out = []
    for at in range(0, len(wanted), size):
        out += forward.forward(wanted[at : at + size], False)
    return scores(out)


def scores(outputs: list[ModelOutput]) -> np.ndarray:
    """All scores as decisions see them: quantized."""
    parts = [np.concatenate([o.keep, o.agnostic, [o.relevance]]) for o in outputs]
    return quantize(np.concatenate(parts))


def check(profile: str, one: np.ndarray, other: np.ndarray) -> None:
    if profile in EXACT:
        assert np.array_equal(one, other)
    assert np.abs(one - other).max() <= 1 / 16
    assert (one != other).mean() <= FLIPS


def test_alone_equals_batched(opened: tuple[str, Callable[[int], Forward]]) -> None:
    """Each length alone, all together, and in the other order: the same scores."""
    profile, open_with = opened
    forward, given = open_with(1), inputs()
    alone = scores([o for i in given for o in forward.forward([i], True)])
    together = scores(forward.forward(given, False))
    backwards = scores(forward.forward(given[::-1], False)[::-1])
    check(profile, alone, together)
    check(profile, together, backwards)


def test_late_alone_equals_batched(opened: tuple[str, Callable[[int], Forward]]) -> None:
    """Codes and their scores: each length alone, and all together."""
    profile, open_with = opened
    forward, given = open_with(1), inputs()
    check(profile, late(forward, given, 1), late(forward, given, len(given)))


def cut(forward: Forward, size: int) -> np.ndarray:
    """Logits of unit starts and links of random sequences of every length, `size` at a time."""
    rng = np.random.default_rng(2)
    given = [
        EduInput(ids=(101, *map(int, rng.integers(1000, 20000, n)), 102), marks=rng.integers(0, 2, (n, MARKS)) * 1.0)
        for n in LENGTHS
    ]
    given = [replace(i, marks=i.marks.astype(np.float32)) for i in given]
    out: list[EduOutput] = []
    for at in range(0, len(given), size):
        out += forward.forward(given[at : at + size], False)
    assert all(o.start.shape == (n,) and len(o.links) == n for o, n in zip(out, LENGTHS, strict=True))
    return np.concatenate([np.concatenate([o.start[:, None], o.links], 1) for o in out])


def test_units_alone_equal_batched(opened: tuple[str, Callable[[int], Forward]]) -> None:
    """Discourse units: each length alone, and all together."""
    profile, open_with = opened
    alone, together = (cut(open_with(1), size) for size in (1, len(LENGTHS)))
    if profile in EXACT:
        assert np.array_equal(alone, together)
    assert np.abs(alone - together).max() < (1e-3 if profile != "gpu-fp16" else 0.1)


def test_profiles_agree_on_units(opened: tuple[str, Callable[[int], Forward]], folder: Path) -> None:
    """Every profile finds the units that cpu-fp32 does in random tokens, but for three starts in a hundred."""
    card = Card.read(folder)
    assert card.edu is not None
    full = OnnxBackend(card, [], edu=[folder / f for f in card.edu.files["cpu-fp32"]])
    a, b = (cut(f, 1)[:, 0] > 0 for f in (full, opened[1](1)))
    assert (a != b).mean() <= 0.03


def test_thread_counts_do_not_matter(opened: tuple[str, Callable[[int], Forward]]) -> None:
    """One thread or three: the same scores."""
    profile, open_with = opened
    given = inputs()[::4]  # every kind of length, not every length: each opens the files anew
    one, three = (scores([o for i in given for o in open_with(n).forward([i], True)]) for n in (1, 3))
    check(profile, one, three)
    check(profile, late(open_with(1), given, 1), late(open_with(3), given, 1))


def test_profiles_agree(opened: tuple[str, Callable[[int], Forward]], folder: Path) -> None:
    """Every profile is the same model: its best quarter of tokens is nearly cpu-fp32's."""
    from laconic.models.export import parity

    card = Card.read(folder)
    full = OnnxBackend(card, [folder / f for f in card.files["cpu-fp32"]])
    profile, open_with = opened
    given = [i for i in inputs() if i.count > 30]

    class Run:
        card = full.card

        def run(self, some):
            return open_with(1).forward(some, False)

    assert parity(full, Run(), given)["flip_rate"] <= (0.05 if profile == "cpu-int8" else 0.005)


def test_a_missing_gpu_is_said(folder: Path) -> None:
    """A GPU profile on a machine without one names the profiles that work."""
    if gpu():
        pytest.skip("there is a GPU here")
    with pytest.raises(ModelError, match="cpu-int8"):
        load_model(folder, "gpu-fp16")


def test_a_profile_served_through_the_lane(folder: Path) -> None:
    """torch-fp32 answers in batches, through the scheduler, as it does bare."""
    model = load_model(folder, "torch-fp32")
    given = inputs()
    bare = scores(model.backend.forward.forward(given, False))
    check("torch-fp32", scores(model.backend.run(given)), bare)
    model.backend.close()
