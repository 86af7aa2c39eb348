"""Readers count as their library does, map tokens to characters, and never fetch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from laconic.compressors import Budget, Compressor, Parts, Pipeline, Request, UnknownName
from laconic.compressors.units import printable
from laconic.models import HfReader, TextTokenizer, TiktokenReader, open_reader
from laconic.models.readers import ReaderError

from .strategies import AWKWARD, requests, texts


@pytest.fixture(scope="session")
def readers_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a byte-level BPE as modern readers have: leading spaces in tokens, merges across words."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    corpus = ["the old bridge was built in 1932 by Ada near Paris.\n\nIt cost money. " * 5, "who built it?\n\n"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(corpus, trainer)
    folder = tmp_path_factory.mktemp("readers")
    (folder / "tiny-bpe").mkdir()
    inner.save(str(folder / "tiny-bpe" / "tokenizer.json"))
    (folder / "broken.json").write_text("{}")
    return folder


@pytest.fixture(scope="session")
def bpe(readers_dir: Path) -> HfReader:
    reader = open_reader("tiny-bpe", readers_dir)
    assert isinstance(reader, HfReader)
    return reader


@pytest.fixture(scope="session")
def tik() -> TiktokenReader:
    """tiktoken's own engine over a vocabulary made here (its published ones need a download)."""
    ranks = {bytes([b]): b for b in range(256)} | {b"th": 256, b"the": 257, b" t": 258, b"\n\n": 259, b" the": 260}
    encoding = tiktoken.Encoding(
        "tiny", pat_str=r"\s*\w+|\s*[^\s\w]+|\s+", mergeable_ranks=ranks, special_tokens={"<|endoftext|>": 300}
    )
    return TiktokenReader("tiny", encoding)


@pytest.mark.parametrize("text", AWKWARD)
def test_spans_agree_with_counts(text: str, bpe: HfReader, tik: TiktokenReader, reader: HfReader) -> None:
    """One span per token, in order, inside the text; special strings are text like any other."""
    clean = printable(text)
    for r in (bpe, tik, reader):
        spans = r.spans([clean])[0]
        assert len(spans) == r.count([clean])[0]
        assert spans.size == 0 or (spans.min() >= 0 and spans.max() <= len(clean))
        assert (np.diff(spans[:, 0]) >= 0).all()


@settings(deadline=None, max_examples=150)
@given(text=texts)
def test_tiktoken_spans_cover_the_text(tik: TiktokenReader, text: str) -> None:
    """Byte-level tokens cover every character."""
    clean = printable(text)
    spans = tik.spans([clean])[0]
    assert {i for a, b in spans for i in range(a, b)} == set(range(len(clean)))


@settings(deadline=None, max_examples=150)
@given(request_=requests())
def test_budgets_hold_in_any_reader(fake_parts: Parts, bpe: HfReader, tik: TiktokenReader, request_: Request) -> None:
    """A byte-level reader's own count of the final text, separators included, is within the budget."""
    for reader in (bpe, tik):
        for tokens in (3, 40):
            budget = Budget(kind="tokens", value=tokens)
            result = Pipeline(fake_parts, reader)(replace(request_, scope="global", budget=budget))
            assert reader.count([printable(result.text)])[0] == result.tokens_out <= tokens


@settings(deadline=None, max_examples=60)
@given(request_=requests(), tokens=st.integers(1, 120))
def test_budgets_are_met_in_any_reader(fake_parts: Parts, bpe: HfReader, request_: Request, tokens: int) -> None:
    """Where a reader's tokens merge across words too, its count of what is handed over is within the budget."""
    asked = replace(request_, scope="global", budget=Budget(kind="tokens", value=tokens))
    result = Pipeline(fake_parts, bpe)(asked)
    assert bpe.count([printable(result.text)])[0] == result.tokens_out <= tokens


def test_named_readers(readers_dir: Path, compressor: Compressor) -> None:
    """A folder's readers open by name; what is missing or broken is named in the error, nothing else happens."""
    assert open_reader("tiny-bpe", readers_dir).count(["the bridge"]) == [2]
    for name, message in (
        ("nope", "no reader 'nope'"),
        ("../tiny-bpe", "no reader"),
        ("broken", "not a tokenizer"),
        ("cl100k_base", "none is fetched"),
    ):
        with pytest.raises(ReaderError, match=message):
            open_reader(name, readers_dir, readers_dir)
    with pytest.raises(UnknownName, match="no reader"):
        compressor.reader("nope")


def test_special_strings_stay_text(tokenizer: TextTokenizer) -> None:
    """`[SEP]` in a document is no separator token."""
    assert tokenizer.sep not in tokenizer.encode(["a [SEP] b [CLS]"])[0].ids


@settings(deadline=None, max_examples=400)
@given(text=st.one_of(texts, st.text(max_size=60), st.sampled_from(AWKWARD)))
def test_words_add_up_to_what_the_library_says(tokenizer: TextTokenizer, text: str) -> None:
    """The memo of words changes neither ids, nor spans, nor counts; whatever white space or marks there are."""
    assert tokenizer.words is not None
    clean = printable(text)
    (whole,) = tokenizer.inner.encode_batch([clean], add_special_tokens=False)
    for _ in range(2):  # unknown words, then known ones
        (found,) = tokenizer.encode([clean])
        assert list(found.ids) == whole.ids
        assert [tuple(s) for s in found.spans.tolist()] == whole.offsets
        assert tokenizer.count([clean]) == [len(whole.ids)]


def test_words_are_only_for_tokenizers_that_split_at_blanks(bpe: HfReader) -> None:
    """A byte-level BPE, whose tokens begin with the blank, goes to the library as it is."""
    assert bpe.tokenizer.words is None
