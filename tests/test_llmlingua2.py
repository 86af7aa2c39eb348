"""LLMLingua-2 in its authors' way: by hand, beside their package, and the Hugging Face folders it comes in."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from laconic.bench.parity import NAMES, PROSE, build, compare_llmlingua2, tokenizer_of
from laconic.compressors import Compressor, Segment
from laconic.compressors.llmlingua.llmlingua2 import LLMLingua2, keep_probabilities, windows
from laconic.compressors.llmlingua.tokens import FAMILIES, FamilyName, Pieces
from laconic.compressors.llmlingua.words import Words, merged, percentile
from laconic.compressors.score_token import TokenScorer
from laconic.models import Card, Catalogue, ModelError, ModelInput, load_model, load_tokenizer
from laconic.models.card import CardError
from laconic.models.hf import AROUND, card, digested, read_card
from laconic.models.load import resolve

from .needs import NEEDS_PEER, RANK, TORCH

VALUES = {"b": 0.1, "d": 0.2, "##y": 0.3, "##2": 0.4, "a": 0.9, "c": 0.8, "##x": 0.7, ".": 0.6}


def letters() -> Tokenizer:
    """A WordPiece tokenizer of a few letters."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *VALUES]
    made = Tokenizer(models.WordPiece({n: i for i, n in enumerate(names)}, unk_token="[UNK]"))
    made.add_special_tokens(names[:5])
    made.normalizer = normalizers.BertNormalizer(lowercase=False)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    return made


class Table:
    """Probabilities by piece, 0.5 for what is added; remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[list[list[int]]] = []
        self.names = {i: n for n, i in letters().get_vocab().items()}

    def __call__(self, sequences: Any) -> list[np.ndarray]:
        self.calls.append([list(s) for s in sequences])
        return [np.array([VALUES.get(self.names.get(i, ""), 0.5) for i in s], np.float32) for s in sequences]


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def compress(table: Table) -> Callable[..., dict[str, Any]]:
    return LLMLingua2(letters(), table, lambda text: len(text.split()), "bert").compress


def test_words_above_the_threshold_are_kept(compress) -> None:
    """Percentile 51 of 0.1, 0.2, 0.8, 0.9 is 0.518: two words go; every key of the answer."""
    assert compress(["a b c d"], rate=0.5, return_word_label=True, word_sep="|", label_sep="=") == {
        "compressed_prompt": "a c",
        "compressed_prompt_list": ["a c"],
        "origin_tokens": 4,
        "compressed_tokens": 2,
        "ratio": "2.0x",
        "rate": "50.0%",
        "saving": ", Saving $0.0 in GPT-4.",
        "fn_labeled_original_prompt": "a=1|b=0|c=1|d=0",
    }


def test_words_are_means_or_first_pieces(compress) -> None:
    """bxx is 0.5 by its mean and 0.1 by its first piece; dy is 0.25 and 0.2."""
    text = "bxx dy b"
    assert compress(text, rate=0.5)["compressed_prompt"] == "bxx"
    assert compress(text, rate=0.5, token_to_word="first")["compressed_prompt"] == "dy"
    with pytest.raises(ValueError, match="token_to_word"):
        compress(text, token_to_word="max")


def test_words_count_as_often_as_their_tokens(table: Table) -> None:
    """A threshold is over tokens: where a high word has many, only words above it stay."""
    counts = {"a": 1, "c": 9}
    count = LLMLingua2(letters(), table, lambda text: counts.get(text, 1), "bert").compress
    assert count(["a b c d"], rate=0.5)["compressed_prompt"] == "a"


def test_percents_are_cut() -> None:
    """As floats have it: 0.55 keeps above percentile 45, 0.8 above 20, 0.85 above 16, 0.9 above 10."""
    numbers = [float(i) for i in range(101)]
    assert [percentile(numbers, 100 * (1 - r) + 1) for r in (0.55, 0.8, 0.85, 0.9)] == [45, 20, 16, 10]
    assert percentile(numbers, 101) == 100


def test_windows_end_at_end_tokens() -> None:
    """510 pieces are one window, so are 511; more are cut after the last end token, or at 511."""
    assert [len(w) for w in windows(["a"] * 510, {"."})] == [510]
    assert [len(w) for w in windows(["a"] * 511, {"."})] == [511]
    pieces = ["a"] * 1200
    assert [len(w) for w in windows(pieces, {"."})] == [511, 511, 178]
    pieces[0] = pieces[300] = pieces[1199] = "."
    assert [len(w) for w in windows(pieces, {"."})] == [301, 511, 388]
    assert windows([], {"."}) == []


def test_long_texts_are_read_in_one_call(compress, table: Table) -> None:
    """All chunks of all contexts are asked for at once, the context filter's too; none is longer than 512."""
    text = "a b . " * 400
    whole = compress([text, "a b", "b"], rate=0.5, use_context_level_filter=True)
    assert [len(s) for s in table.calls[0]] == [512, 512, 182, 4, 3]
    assert len(table.calls) == 1
    assert whole["compressed_prompt_list"] == ["".join(" ".join("a" * n) for n in (170, 170, 60)), "a"]


def test_forced_strings(compress, table: Table) -> None:
    """A string that is no piece is a token of its own, and kept; a piece of the vocabulary is kept as it is."""
    assert compress("b\na b", rate=0.5, force_tokens=["\n"])["compressed_prompt"] == "\n a"
    added = table.calls[0][0][2]
    assert added == letters().get_vocab_size()
    assert compress("d a b c", rate=0.5, force_tokens=["d"])["compressed_prompt"] == "d a"
    with pytest.raises(ValueError, match="100"):
        compress("a", force_tokens=["a"] * 101)


def test_digits(compress) -> None:
    """A piece with a digit counts as certain: b2 is 0.25, then 0.55, and dx 0.45."""
    assert compress("b2 dx")["compressed_prompt"] == "dx"
    assert compress("b2 dx", force_reserve_digit=True)["compressed_prompt"] == "b2"


def test_repeats_of_forced_strings(compress) -> None:
    """Only the first of several stays, unless something better than the threshold is in between."""
    text, forced = "a d . . b . a .", {"force_tokens": ["."], "rate": 0.8}
    assert compress(text, **forced)["compressed_prompt"] == "a... a."
    assert compress(text, **forced, drop_consecutive=True)["compressed_prompt"] == "a d. b a."


def test_contexts_are_chosen_by_first_pieces(compress) -> None:
    """Of b (0.1) and x (0.7) a context's mean takes b twice, so d (0.2) comes before bx."""
    given = {"use_context_level_filter": True, "use_token_level_filter": False}
    assert compress(["bx", "d"], rate=0.5, **given)["compressed_prompt"] == "d"
    assert compress(["bx", "d"], target_context=1, **given)["compressed_prompt_list"] == ["d"]
    both = compress(["bx", "d"], rate=0.5, force_context_ids=[0], **given)
    assert both["compressed_prompt"] == "bx\n\nd"


def test_dropped_contexts_are_labelled(compress) -> None:
    """Labels cover every word of every context in source order."""
    found = compress(
        ["a a", "b b", "c b"], target_context=2, use_context_level_filter=True, return_word_label=True, word_sep=","
    )
    assert found["fn_labeled_original_prompt"] == "a 0,a 0,b 0,b 0,c 1,b 0"


def test_goals_in_tokens(compress) -> None:
    """A target is a share of what was given, or of what the context filter left."""
    assert compress("a b c d", target_token=2, rate=0.9)["compressed_prompt"] == "a c"
    filtered = compress(["a b c d", "b b", "d d"], target_token=2, target_context=1, use_context_level_filter=True)
    assert filtered["compressed_prompt"] == "a c"


def test_everything_asks_no_model(compress, table: Table) -> None:
    """A rate of 1 or more: the text by way of the tokenizer, its words by a pattern."""
    found = compress("a  b,c_d\n.", rate=1.2, force_tokens=["\n"], return_word_label=True, word_sep="|")
    assert found["compressed_prompt"] == "a b [UNK] c [UNK] d \n."
    assert found["fn_labeled_original_prompt"] == "a 1|b 1|UNK 1|c 1|UNK 1|d 1"
    assert table.calls == []


@pytest.mark.parametrize(
    ("context", "settings", "kept"),
    [
        ([], {}, []),
        ([], {"use_context_level_filter": True}, []),
        ([""], {"target_token": 5}, [""]),
        (["", "a b"], {"use_context_level_filter": True}, ["a"]),
        (["[SEP] [UNK]"], {}, [""]),
        (["a b"], {"rate": 0.0}, [""]),
        (["\ud800 a"], {"rate": 0.5}, [""]),
        (["a", "b"], {"use_context_level_filter": True, "context_level_rate": 1.5, "rate": 1.0}, ["a", "b"]),
    ],
)
def test_no_input_raises(compress, context: list[str], settings: dict[str, Any], kept: list[str]) -> None:
    """Where the package has no answer there is one."""
    assert compress(context, **settings)["compressed_prompt_list"] == kept


def test_a_text_may_begin_inside_a_word() -> None:
    """As after a special token: what no word begins before begins one."""
    how = Words(forced=(), mapped={}, pooling="mean", digits=False, drop_consecutive=False)
    found = merged(["<mask>", "lo", "w", "▁a"], [0.1, 0.2, 0.3, 0.4], how, FAMILIES["xlm-roberta"])
    assert [(w.text, w.values) for w in found] == [("low", [0.2, 0.3]), ("▁a", [0.4])]


def test_xlm_roberta_reads_unknown_for_special_tokens() -> None:
    """BERT's strings begin and end every sequence; XLM-R's vocabulary lacks them."""
    seen: list[list[int]] = []

    def probabilities(sequences: Any) -> list[np.ndarray]:
        seen.extend(sequences)
        return [np.linspace(0.1, 0.9, len(s), dtype=np.float32) for s in sequences]

    tokenizer = tokenizer_of("xlm-roberta")
    made = LLMLingua2(tokenizer, probabilities, len, "xlm-roberta")
    found = made.compress("The committee agreed, after a debate", rate=0.5, return_word_label=True, word_sep="|")
    assert {seen[0][0], seen[0][-1]} == {tokenizer.token_to_id("<unk>")}
    assert "▁" not in found["compressed_prompt"] + found["fn_labeled_original_prompt"]
    assert found["compressed_prompt"].endswith("debate")


@pytest.mark.parametrize(("family", "size", "start"), [("bert", 420, "The"), ("xlm-roberta", 261, "▁The")])
def test_a_seed_names_the_same_cases_in_every_run(family: FamilyName, size: int, start: str) -> None:
    """The bench's tokenizers are not drawn anew; of one whose pieces are, now and then a case is a tie."""
    code = f"from laconic.bench.parity import *; print(tokenizer_of({family!r}).to_str())"
    made, other = tokenizer_of(family), subprocess.check_output([sys.executable, "-c", code], text=True)
    assert Tokenizer.from_str(other).get_vocab() == made.get_vocab()
    found = made.encode(PROSE)
    assert made.get_vocab_size() == size and start == found.tokens[1]
    assert made.decode(found.ids).startswith("The committee met on 14 March 2023 and agreed, after")


def test_the_callers_tokenizer_stays_as_it_is() -> None:
    """Added tokens go into a copy; limits in the file do not apply."""
    given = letters()
    given.enable_truncation(3)
    pieces = Pieces(given, "bert")
    assert pieces.cut(["a b c d a"]) == [["a", "b", "c", "d", "a"]]
    assert given.get_vocab_size() == letters().get_vocab_size()


# --- beside the package ---


@pytest.mark.filterwarnings("ignore")  # of the package and what it imports
def test_parity_with_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty random texts and settings over both families: equal strings, labels and figures."""
    pytest.importorskip("llmlingua", reason=NEEDS_PEER)
    monkeypatch.setenv("PYTHONHASHSEED", "0")  # the package sets it; this puts it back
    found = compare_llmlingua2(40, 5)
    print(found["first_difference"])  # pytest cuts it short
    assert found["first_difference"] is None
    rows = found["families"].values()
    assert sum(r["equal"] for r in rows) == sum(r["compared"] for r in rows) >= 30


# --- the checkpoints, on our own encoder ---


@pytest.fixture(scope="module", params=list(NAMES))
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch", reason=TORCH)
    pytest.importorskip("transformers", reason=RANK)
    return build(tmp_path_factory.mktemp("classifiers"), request.param, 5)


def inputs(lengths: tuple[int, ...]) -> list[ModelInput]:
    rng = np.random.default_rng(0)
    ids = [tuple(map(int, rng.integers(5, 150, n))) for n in lengths]
    return [ModelInput(query=(), segment=i, skip=0, count=len(i)) for i in ids]


def theirs(folder: Path, ids: tuple[int, ...], mask: list[int] | None = None, rows: int = 0) -> np.ndarray:
    """transformers' difference of logits, its embedding table grown to `rows`."""
    import torch
    from transformers import AutoModelForTokenClassification

    model = AutoModelForTokenClassification.from_pretrained(folder)
    if rows:
        model.resize_token_embeddings(rows)
    with torch.no_grad():
        seen = torch.tensor([mask or [1] * len(ids)])
        logits = model(input_ids=torch.tensor([ids]), attention_mask=seen).logits[0]
    return np.asarray(logits[:, 1] - logits[:, 0])


def test_classifiers_agree_with_transformers(checkpoint: Path) -> None:
    """Every token's score, alone and packed with others of other lengths, to 1e-5; skip and count choose."""
    forward = load_model(checkpoint).backend.forward
    given = inputs((1, 2, 33, 200, 512))
    together = forward.forward(given, False)
    for i, found in zip(given, together, strict=True):
        wanted = theirs(checkpoint, i.segment)
        assert found.keep.dtype == np.float32
        assert np.abs(found.keep - wanted).max() < 1e-5
        assert np.abs(forward.forward([i], True)[0].agnostic - wanted).max() < 1e-5
    part = ModelInput(query=(), segment=given[2].segment, skip=3, count=7)
    assert np.array_equal(forward.forward([part], True)[0].keep, forward.forward([given[2]], True)[0].keep[3:10])


def test_padding_in_a_text(checkpoint: Path) -> None:
    """BERT does not see it and counts it; XLM-R sees it and does not count it."""
    roberta = checkpoint.name.startswith("xlm")
    padding = 1 if roberta else 0
    ids = (7, 8, padding, 9, padding, 10, 11)
    wanted = theirs(checkpoint, ids, [1] * len(ids) if roberta else [int(i != padding) for i in ids])
    forward = load_model(checkpoint).backend.forward
    found = forward.forward([ModelInput(query=(), segment=ids, skip=0, count=len(ids))], True)[0].keep
    real = [n for n, i in enumerate(ids) if roberta or i != padding]
    assert np.abs(found[real] - wanted[real]).max() < 1e-5


def test_added_tokens_read_as_the_mean(checkpoint: Path) -> None:
    """transformers grows the table by rows around the mean of all, of variance 1e-9: within 1e-3 in the logits."""
    size = json.loads((checkpoint / "config.json").read_text())["vocab_size"]
    ids = (7, 8, size, 9, size + 50, 10)
    forward = load_model(checkpoint).backend.forward
    found = forward.forward([ModelInput(query=(), segment=ids, skip=0, count=len(ids))], True)[0].keep
    assert np.abs(found - theirs(checkpoint, ids, rows=size + 100)).max() < 1e-3


def test_probabilities_are_softmax(checkpoint: Path) -> None:
    """The second label's, float32, special tokens' too."""
    given = inputs((5, 90))
    model = load_model(checkpoint)
    found = keep_probabilities(model.backend)([i.segment for i in given])
    assert [f.dtype for f in found] == [np.float32] * 2
    for i, f in zip(given, found, strict=True):
        assert np.abs(f - 1 / (1 + np.exp(-theirs(checkpoint, i.segment)))).max() < 1e-5
    model.backend.close()


def test_other_networks_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    """A type, an activation or weights that our encoder is not: said, not computed wrongly."""
    for number, (key, value) in enumerate(
        (("model_type", "deberta"), ("hidden_act", "relu"), ("num_hidden_layers", 3), ("vocab_size", 9))
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        for p in checkpoint.iterdir():
            (folder / p.name).write_bytes(p.read_bytes())
        facts = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**facts, key: value}))
        with pytest.raises(ModelError, match="cannot run"):
            load_model(folder)


def test_a_classifier_by_name(checkpoint: Path) -> None:
    """An operator's Hugging Face folder is a model under its name; ONNX profiles become torch-fp32."""
    made = Compressor(model=checkpoint.name, models_dir=checkpoint.parent)
    model = made.model()
    assert (model.profile, model.card.kind, model.card.segment_tokens) == ("torch-fp32", "classifier", 510)
    assert set(model.card.sha256) == {"config.json", "tokenizer.json", "model.safetensors"}
    text = "The committee met on 14 March and agreed to postpone the vote. " * 5
    scores = TokenScorer(model.backend, model.tokenizer)(None, [Segment(document=0, start=7, text=text)])[0]
    assert len(scores.keep) == len(scores.pieces) == made.reader().count([text])[0]
    assert scores.keep.std() > 0.5
    made.close()


def test_a_classifier_without_its_gpu(checkpoint: Path) -> None:
    """A GPU profile on a machine without one names the profile that works."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(ModelError, match="torch-fp32"):
        load_model(checkpoint, "gpu-fp16")


# --- folders ---


def folder_of(root: Path, name: str = "some", weights: str = "model.safetensors", **facts: Any) -> Path:
    """A Hugging Face folder without weights to speak of."""
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"architectures": ["BertForTokenClassification"], **facts}))
    letters().save(str(folder / "tokenizer.json"))
    (folder / weights).write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("facts", "kind", "tokens"),
    [
        ({"architectures": ["XLMRobertaForTokenClassification"], "max_position_embeddings": 514}, "classifier", 510),
        ({"max_position_embeddings": 128}, "classifier", 126),
        ({"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 131072}, "causal", 2048 - AROUND),
        ({"architectures": ["GPT2LMHeadModel"], "n_positions": 1024}, "causal", 1024 - AROUND),
    ],
)
def test_cards_from_configurations(tmp_path: Path, facts: dict[str, Any], kind: str, tokens: int) -> None:
    """Kind and window come from what a folder declares; its name from the folder."""
    found = card(folder_of(tmp_path, **facts))
    assert (found.name, found.kind, found.segment_tokens) == ("some", kind, tokens)
    assert "torch-fp32" in found.files


def test_snapshots_have_their_ids(tmp_path: Path) -> None:
    """A folder of the hub's cache is named by model and commit."""
    found = card(folder_of(tmp_path / "models--some--thing-2" / "snapshots", "0a1b"))
    assert (found.name, found.revision) == ("some/thing-2", "0a1b")


def test_incomplete_folders_say_what_is_wrong(tmp_path: Path) -> None:
    """Pickled weights, missing files, other kinds, broken JSON: each its own message, in the catalogue too."""
    wrong = {
        "pickle": folder_of(tmp_path, "pickled", weights="pytorch_model.bin"),
        "does not exist": folder_of(tmp_path, "weightless", weights="README.md"),
        "fast tokenizer": folder_of(tmp_path, "slow"),
        "no token classifier": folder_of(tmp_path, "other", architectures=["BertModel"]),
        "unnamed": folder_of(tmp_path, "blank", architectures=None),
        "cannot be read": folder_of(tmp_path, "broken"),
        "not a model's": folder_of(tmp_path, "list"),
        "not an index": folder_of(tmp_path, "sharded"),
    }
    folder_of(tmp_path, "fine")
    (tmp_path / "slow" / "tokenizer.json").unlink()
    (tmp_path / "broken" / "config.json").write_text("{")
    (tmp_path / "list" / "config.json").write_text("[]")
    (tmp_path / "sharded" / "model.safetensors.index.json").write_text("[]")
    cards = Catalogue(extra=tmp_path).cards()
    assert isinstance(cards["fine"], Card)
    for message, folder in wrong.items():
        with pytest.raises(CardError, match=message):
            read_card(folder)
        assert isinstance(cards[folder.name], CardError)
        with pytest.raises(ModelError, match=message):
            load_model(folder)


def test_malformed_files_are_named(tmp_path: Path) -> None:
    """A tokenizer or weights that are none: said with their place, not a failure of the service."""
    folder = folder_of(tmp_path, model_type="bert")
    (folder / "tokenizer.json").write_text("{}")
    for opened in (load_model, load_tokenizer):
        with pytest.raises(ModelError, match=r"tokenizer\.json is not a tokenizer"):
            opened(folder)
    pytest.importorskip("torch", reason=TORCH)
    letters().save(str(folder / "tokenizer.json"))
    sizes = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    facts = {"architectures": ["BertForTokenClassification"], "model_type": "bert", "max_position_embeddings": 8}
    (folder / "config.json").write_text(json.dumps({**facts, **dict.fromkeys(sizes, 8)}))
    with pytest.raises(ModelError, match="weights that cannot be read"):
        load_model(folder)


def test_shards_are_digested(tmp_path: Path) -> None:
    """What names cached scores covers every file that is read."""
    folder = folder_of(tmp_path, weights="model-1.safetensors")
    (folder / "model-2.safetensors").write_bytes(b"2")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    found = digested(folder).sha256
    assert set(found) == {"config.json", "tokenizer.json", "model-1.safetensors", "model-2.safetensors"}
    assert found["model-1.safetensors"] != found["model-2.safetensors"]
    (tmp_path / "outside.safetensors").write_bytes(b"")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../outside.safetensors"}}))
    with pytest.raises(CardError, match="does not exist"):
        digested(folder)


def test_a_card_goes_before(tmp_path: Path) -> None:
    """A folder with a card is not taken for a Hugging Face one; both are in the catalogue."""
    folder = folder_of(tmp_path)
    assert {"laconic-mini", "some"} <= set(Catalogue(extra=tmp_path).folders())
    assert load_tokenizer(folder).cls == 2
    Card(name="own", revision="1", summary="", licence="", files={}, sha256={}).write(folder)
    assert read_card(folder).name == "own"


def test_unknown_profiles_of_folders(tmp_path: Path) -> None:
    """A profile that is none names those there are."""
    with pytest.raises(ModelError, match="no profile gpu-fp8; there are torch-fp32"):
        load_model(folder_of(tmp_path), "gpu-fp8")


def test_models_are_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is itself; an id is fetched without pickles or code; no hub, no network: said."""
    folder = folder_of(tmp_path)
    assert resolve(folder) == resolve(str(folder)) == folder
    asked: list[Any] = []

    def download(name: str, allow_patterns: list[str], ignore_patterns: list[str]) -> str:
        asked.append((name, allow_patterns))
        if name == "some/model":
            return str(folder)
        raise OSError("offline")

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(snapshot_download=download))
    assert resolve("some/model") == folder
    assert not any(p.endswith((".bin", ".py", ".pt")) or p == "*" for p in asked[0][1])
    with pytest.raises(ModelError, match="offline"):
        resolve("some/other")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelError, match=r"laconic\[hf\]"):
        resolve("some/model")
