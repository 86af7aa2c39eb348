"""Cards, catalogue, loading, and one contract table over every backend."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from laconic.compressors import Compressor
from laconic.models import Card, Catalogue, FakeBackend, ModelError, ModelInput, load_model
from laconic.models.card import CardError
from laconic.models.catalogue import EMBEDDED
from laconic.models.cores import usable_cores

MINI = EMBEDDED / "laconic-mini"


@pytest.fixture(params=["fake", "onnx"])
def backend(request: pytest.FixtureRequest, compressor: Compressor):
    return FakeBackend() if request.param == "fake" else compressor.model().backend


def inputs(lengths: list[int], seed: int = 0) -> list[ModelInput]:
    rng = np.random.default_rng(seed)
    out = []
    for i, n in enumerate(lengths):
        body = (101, *map(int, rng.integers(1000, 20000, n)), 102)
        query = (101, *map(int, rng.integers(1000, 20000, 5)), 102) if i % 3 else ()
        out.append(ModelInput(query=query, segment=body, skip=1, count=n))
    return out


def same(a, b) -> bool:
    return np.array_equal(a.keep, b.keep) and np.array_equal(a.agnostic, b.agnostic) and a.relevance == b.relevance


def test_contract_shapes(backend) -> None:
    """One output per input, in order, one score per wanted token, all finite."""
    given = inputs([1, 2, 3, 40, 239])
    found = backend.run(given)
    assert [len(o.keep) for o in found] == [len(o.agnostic) for o in found] == [i.count for i in given]
    assert all(np.isfinite(o.keep).all() and np.isfinite(o.agnostic).all() for o in found)
    assert backend.run([]) == []


def test_contract_alone_equals_batched_equals_concurrent(backend) -> None:
    """The same input gives the same bits alone, among others, in another order, and from many threads; odd lengths."""
    given = inputs([1, 3, 7, 17, 33, 63, 65, 127, 129, 201])
    together = backend.run(given)
    assert all(same(backend.run([i])[0], o) for i, o in zip(given, together, strict=True))
    assert all(same(a, b) for a, b in zip(backend.run(given[::-1])[::-1], together, strict=True))
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(backend.run, [given] * 4):
            assert all(same(a, b) for a, b in zip(found, together, strict=True))


def test_worker_count_does_not_change_bits() -> None:
    """One worker or three: the same scores."""
    given = inputs([5, 64, 121])
    one, three = (load_model(MINI, workers=n).backend.run(given) for n in (1, 3))
    assert all(same(a, b) for a, b in zip(one, three, strict=True))


def test_embedded_files_verify() -> None:
    """Every file on the card has the sha256 the card states, and the card says what it must."""
    card = Card.read(MINI)
    card.verify(MINI, sorted(card.sha256))
    assert {name for names in card.files.values() for name in names} <= set(card.sha256)
    assert {"base", "training", "data", "held_out", "profiles", "limits"} <= set(card.facts)
    assert sum(p.stat().st_size for p in MINI.iterdir()) < 60e6


def test_tampered_weights_are_refused(tmp_path: Path) -> None:
    """One changed byte, a missing file, an unlisted profile: a clear error before anything runs."""
    folder = tmp_path / "laconic-mini"
    shutil.copytree(MINI, folder)
    with pytest.raises(ModelError, match="no profile gpu-fp8"):
        load_model(folder, "gpu-fp8")
    weights = folder / "encoder.int8.onnx"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ModelError, match="not the file the card was written for"):
        load_model(folder)
    weights.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(folder)


def test_broken_cards_are_named(tmp_path: Path) -> None:
    """A catalogue lists what is wrong with a card instead of failing."""
    for name, text in (("bad", "{"), ("odd", json.dumps({"name": "odd", "colour": "red"}))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "card.json").write_text(text)
    cards = Catalogue(extra=tmp_path).cards()
    assert isinstance(cards["laconic-mini"], Card)
    assert isinstance(cards["bad"], CardError)
    assert isinstance(cards["odd"], CardError)
    with pytest.raises(CardError, match="does not exist"):
        Card.read(tmp_path)
    with pytest.raises(LookupError, match="laconic-mini"):
        Catalogue().folder("nope")
    with pytest.raises(CardError, match="not listed"):
        Card.read(MINI).verify(MINI, ["card.json"])


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b", "..", "C:\\x", "..\\x", ""])
@pytest.mark.parametrize("place", ["files", "sha256", "edu"])
def test_a_cards_files_stay_in_its_folder(tmp_path: Path, name: str, place: str) -> None:
    """A name that leads out of the folder makes the card none, wherever on it the name is."""
    given = {"name": "m", "revision": "1", "summary": "", "licence": "", "files": {"cpu-int8": ["a"]}, "sha256": {}}
    changed = {
        "files": {"files": {"cpu-int8": ["a", name]}},
        "sha256": {"sha256": {name: "0" * 64}},
        "edu": {"edu": {"files": {"cpu-int8": [name]}, "distance": []}},
    }
    (tmp_path / "card.json").write_text(json.dumps({**given, **changed[place]}))
    with pytest.raises(CardError, match="no name of a file in its folder"):
        Card.read(tmp_path)


def test_links_out_of_a_models_folder_are_not_followed(tmp_path: Path) -> None:
    """A file that is a link to elsewhere is refused, also where what it leads to is what the card says."""
    folder = tmp_path / "mini"
    shutil.copytree(MINI, folder)
    (folder / "tokenizer.json").rename(tmp_path / "elsewhere.json")
    (folder / "tokenizer.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ModelError, match="leads out of the model's folder"):
        load_model(folder)
    (tmp_path / "mini2").symlink_to(folder)  # the folder itself may be one
    Card.read(tmp_path / "mini2").verify(tmp_path / "mini2", ["encoder.int8.onnx"])


def test_usable_cores_is_positive() -> None:
    """Affinity and quota give at least one core."""
    assert usable_cores() >= 1


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 64),
        ({"sys/fs/cgroup/cpu.max": "350000 100000"}, 3),
        ({"sys/fs/cgroup/cpu.max": "max 100000"}, 64),
        ({"sys/fs/cgroup/cpu.max": "5000 100000"}, 1),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "200000"}, 2),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 64),
        (  # a service of systemd's, limited by the slice it is in
            {"proc/self/cgroup": "0::/a.slice/b.service", "sys/fs/cgroup/a.slice/cpu.max": "700000 100000"},
            7,
        ),
        (  # version 1 names a group that is not seen inside the container
            {
                "proc/self/cgroup": "4:memory:/x\n3:cpu,cpuacct:/docker/abc",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "500000",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            5,
        ),
        ({"proc/self/cgroup": "0::/../x\nnonsense", "sys/fs/cgroup/cpu.max": "nonsense"}, 64),
    ],
)
def test_quotas_count(files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quotas of both versions of control groups bound the cores, wherever above the process they are."""
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(64)))
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert usable_cores(tmp_path) == cores
