"""The host's work grows in proportion to a request, is clocked, and tells no tenant what another sent.

What can be counted is counted. Where time is taken it is a thread's own processor time, least of several, over sizes
far enough apart that work which grows with the square is far beyond what noise adds.
"""

from __future__ import annotations

import gc
import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laconic.bench.growth import made, request
from laconic.bench.shapes import PROSE, SHAPES, Asked
from laconic.compressors import Budget, Compressor, Document, InvalidRequest, Keep, Parts, Pipeline, Request, protect
from laconic.compressors.content.detect import detect, unfenced
from laconic.compressors.content.markdown_blocks import blocks
from laconic.compressors.forced import Forcing
from laconic.compressors.score_token import identifiers
from laconic.compressors.select import Piece, within
from laconic.compressors.structure import tree
from laconic.compressors.units import from_starts, sentences, words
from laconic.models import Cancelled, DeadlineExceeded, HfReader, ModelInput, TextTokenizer, Work, current
from laconic.models.work import ASIDE, checkpoint

SIGNS = [
    "".join(f"{chr(c)}a" for c in range(a, a + 64) if chr(c).isprintable()) for a in (0xA0, 0x2010, 0x3000, 0xFF00)
]
HALF = Budget(kind="rate", value=0.5)


def taken(run: Callable[[], object]) -> float:
    """Processor seconds of this thread."""
    begun = time.thread_time()
    run()
    return time.thread_time() - begun


def growth(run: Callable[[int], object], small: int, times: int) -> float:
    """The exponent between a size and one that many times as large, of the least of three times each."""
    least = [min(taken(lambda n=n: run(n)) for _ in range(3)) for n in (small, small * times)]  # type: ignore[misc]
    return math.log(least[1] / least[0], times)


@contextmanager
def working(work: Work) -> Iterator[Work]:
    token = current.set(work)
    try:
        yield work
    finally:
        current.reset(token)


class Counting:
    """A reader that adds up the characters it was given."""

    def __init__(self, inner: HfReader) -> None:
        self.inner, self.characters = inner, 0

    def count(self, texts: Sequence[str]) -> list[int]:
        self.characters += sum(map(len, texts))
        return self.inner.count(texts)

    def spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        return self.inner.spans(texts)


@pytest.mark.parametrize("shape", ["white space in a line", "repeated blank lines", "repeated padded lines"])
def test_white_space_is_linear(shape: str) -> None:
    """Blank lines are walked once, not once for each line break after them."""
    assert growth(lambda n: sentences(SHAPES[shape](n).texts[0]), 4_000, 8) < 1.5


@pytest.mark.parametrize("unit", ["文。", "'", '。"'])
def test_the_splitter_sees_less_where_it_would_take_the_square(unit: str) -> None:
    """Sentences of many full stops or quotation marks take time in proportion."""
    assert growth(lambda n: sentences(unit * (n // len(unit))), 8_000, 4) < 1.5


def test_no_white_space_panics() -> None:
    """Initials before wide white space are no error of the splitter's."""
    assert len(sentences("A.\u3000B\u3000said A.\u3000B. So.")) >= 1


@pytest.mark.parametrize("shape", ["glued documents", "commas", "tiny documents"])
def test_selecting_counts_a_text_a_few_times(shape: str, fake_parts: Parts, reader: HfReader) -> None:
    """However documents add up, what is counted on the way to a budget is a few times the request."""
    asked = SHAPES[shape](20_000)
    counting = Counting(reader)
    Pipeline(fake_parts, counting)(request(asked, Budget(kind="rate", value=0.3)))
    assert counting.characters < 24 * asked.size


class Odd:
    """A reader that counts as it likes: so many tokens for so many letters."""

    name = "odd"

    def __init__(self, counts: list[int]) -> None:
        self.counts = counts

    def count(self, texts: Sequence[str]) -> list[int]:
        return [self.counts[text.count("a")] for text in texts]

    def spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        raise NotImplementedError


def letters(costs: Sequence[int], forced: int = 0) -> Piece:
    """A text of so many units of one letter, the first ones best."""
    many = len(costs)
    return Piece(
        text="a " * many,
        units=from_starts(np.arange(0, 2 * many, 2), 2 * many),
        score=-np.arange(many, dtype=np.float64),
        forced=np.arange(many) < forced,
        cost=np.array(costs, np.int64),
        allowed=np.ones(many, bool),
    )


@given(
    steps=st.lists(st.integers(0, 9), min_size=1, max_size=300),
    noise=st.lists(st.integers(-30, 30), min_size=301, max_size=301),
    budget=st.integers(1, 1500),
    forced=st.integers(0, 5),
)
def test_budgets_are_met_where_counts_go_up_and_down(
    steps: list[int], noise: list[int], budget: int, forced: int
) -> None:
    """What is kept fits, or is only what must be."""
    counts = [0, *(max(0, int(s) + n) for s, n in zip(np.cumsum(steps), noise, strict=False))]
    found = within([letters(steps, forced)], budget, Odd(counts))
    kept = int(found.kept[0].sum())
    assert found.kept[0][:forced].all()
    assert counts[kept] <= budget or (found.excess == counts[kept] - budget and kept == min(forced, len(steps)))


@pytest.mark.parametrize(
    "counts",
    [
        [0 if k < 500 else 500 if k == 500 else 5 * k for k in range(1001)],
        [5 * k for k in range(1001)],
        [3 * k if k < 400 else 1200 + 9 * (k - 400) for k in range(1001)],
        [k // 7 for k in range(1001)],
    ],
)
def test_estimates_that_are_far_off_are_not_trusted(counts: list[int]) -> None:
    """A budget is met and used where texts come to other numbers of tokens than their parts."""
    for budget in (100, 130, 2600):
        kept = int(within([letters([1] * 1000)], budget, Odd(counts)).kept[0].sum())
        assert counts[kept] <= budget
        assert kept == 1000 or counts[kept] == budget or counts[kept + 1] > budget


@pytest.mark.parametrize("pattern", ["a(?:.*b)?", "(a*)*b", r"\w+\s?$"])
def test_patterns_are_linear(pattern: str) -> None:
    """A pattern that looks on to the end for every match is given a window."""

    def run(n: int) -> None:
        text = "a" * n
        Forcing(Keep(patterns=[pattern]))(Document(text=text), words(text), words(text))

    assert growth(run, 5_000, 5) < 1.5


def test_long_matches_are_found_where_they_are_few() -> None:
    """A window is the whole text for patterns that match now and then."""
    text = "x " * 5_000 + "BEGIN " + "y " * 30_000 + "END" + " z" * 5_000
    kept = Forcing(Keep(patterns=["BEGIN.*END"]))(Document(text=text), words(text), words(text))
    assert int(kept.sum()) == 30_002


@pytest.mark.parametrize(
    ("keep", "param"),
    [
        (Keep(strings=["b", "a"]), "keep.strings.1"),
        (Keep(patterns=["b", "(?s)."]), "keep.patterns.1"),
        (Keep(patterns=["x*"]), "keep.patterns.0"),
    ],
)
def test_what_is_found_too_often_is_the_callers_error(
    keep: Keep, param: str, monkeypatch: pytest.MonkeyPatch, reader: HfReader, fake_parts: Parts
) -> None:
    """So many matches that keeping them means nothing end in an error that names the field."""
    monkeypatch.setattr("laconic.compressors.forced.FOUND", 10_000)
    monkeypatch.setattr("laconic.compressors.forced.MATCHED", 10_000)
    documents = [Document(id=str(i), text="a " * 2_000) for i in range(6)]
    with pytest.raises(InvalidRequest, match="times") as raised:
        Pipeline(fake_parts, reader)(Request(documents=documents, budget=HALF, keep=keep, on_over_budget="warn"))
    assert raised.value.param == param


def ranges(pattern: re.Pattern[str], text: str) -> list[tuple[int, int]]:
    return [m.span() for m in pattern.finditer(text)]


@pytest.mark.parametrize("pattern", [protect._QUANTITY, protect._LINK, protect._TAG, protect._ROW, protect._NAME])
def test_a_search_by_windows_finds_what_a_search_of_all_does(
    pattern: re.Pattern[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever windows end: in a match, before one, in one that only seems to end there."""
    bits = ["3.5 km ", "[a](b) ", "<b>", "| a | b |  \n", "a_b.c ", "\n", "x", "$5 million ", "| c ", "é "]
    text = "".join(bits[(n * n + 3 * n) // 7 % len(bits)] for n in range(300))
    monkeypatch.setattr(protect, "LONGEST", 20)
    for window in range(1, 40):
        monkeypatch.setattr(protect, "WINDOW", window)
        found = np.concatenate(protect.spans(pattern, text))
        assert [tuple(span) for span in found.tolist()] == ranges(pattern, text)


def test_a_search_is_of_no_more_than_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a text is, native code has the interpreter for one window at a time, and the clock is looked at."""
    looked = []
    monkeypatch.setattr(protect, "checkpoint", lambda: looked.append(1))
    protect.spans(protect._QUANTITY, "-" * 1_000_000)
    assert len(looked) == math.ceil(1_000_000 / protect.WINDOW)


def test_who_works_steps_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that goes in and out of native code leaves the interpreter to others at least every 20 ms, if looked up.

    Without that, who waits for it loses the race each time: half a second at a stretch.
    """
    token = current.set(Work())
    aside: list[float] = []
    monkeypatch.setattr("laconic.models.work.time.sleep", aside.append)
    try:
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            checkpoint()
    finally:
        current.reset(token)
    assert 5 <= len(aside) <= 26 and set(aside) == {ASIDE}


@pytest.mark.parametrize("unit", ["a", "漢", "|", "é", "a1_", "'", "a.", "\u0301", "😀|", "。", "a،", "«「⁄＄", *SIGNS])
def test_one_enormous_word_is_what_the_library_makes_of_it(unit: str, tokenizer: TextTokenizer) -> None:
    """Long words are cut only where the tokenizer cuts them too."""
    assert tokenizer.words is not None
    text = "so " + unit * 300 + " it is"
    found = tokenizer.inner.encode_batch([text], add_special_tokens=False)[0]
    ids, spans = tokenizer.words.encode([text])[0]
    assert (list(ids), spans.tolist()) == (found.ids, [list(o) for o in found.offsets])
    assert tokenizer.words.count([text]) == [len(ids)]


def test_no_step_of_counting_sees_a_whole_text(tokenizer: TextTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Line breaks end a run of words as blanks do, and signs end a word."""
    assert tokenizer.words is not None
    longest_part = 0
    cut = tokenizer.words._count

    def watched(text: str) -> int:
        nonlocal longest_part
        longest_part = max(longest_part, len(text))
        return cut(text)

    monkeypatch.setattr(tokenizer.words, "_count", watched)
    assert tokenizer.words.count(["word\n" * 60_000, "|" * 200_000, "。" * 200_000]) == [60_000, 200_000, 200_000]
    assert longest_part < 60_000


class Watched(Work):
    """Work that notes the most processor seconds between two looks at it, and ends at the `last` one."""

    def __init__(self, last: float = math.inf, **given: float) -> None:
        super().__init__(**given)  # type: ignore[arg-type]
        self.last, self.looks, self.apart, self.at = last, 0, 0.0, time.thread_time()

    def check(self) -> None:
        now = time.thread_time()
        self.apart, self.at, self.looks = max(self.apart, now - self.at), now, self.looks + 1
        if self.looks >= self.last:
            raise Cancelled
        super().check()


CLOCKED = [
    ("token.v1", "repeated blank lines"),
    ("token.v1", "prose"),
    ("lexical.v1", "tiny documents"),
    ("auto.v1", "page"),
    ("auto.v1", "objects"),
    ("auto.v1", "document"),
    ("auto.v1", "logged"),
    ("code.v1", "program"),
    ("code.v1", "repeated closings"),
    ("meta.v1", "objects"),
]


def asked_of(shape: str, n: int) -> Asked:
    return SHAPES[shape](n) if shape in SHAPES else Asked([PROSE * (n // len(PROSE))])


@pytest.mark.parametrize(("recipe", "shape"), CLOCKED)
def test_host_work_looks_up(recipe: str, shape: str) -> None:
    """No more than a fraction of a second passes between two looks at whether the answer is still wanted."""
    run = made(recipe)
    with working(Watched()) as work:
        run(request(asked_of(shape, 100_000), HALF))
    assert work.looks > 5  # type: ignore[attr-defined]
    assert work.apart < 1.0  # type: ignore[attr-defined]


def test_host_work_ends_when_nobody_waits() -> None:
    """A deadline that passes while documents are being cut ends the request there, a cancelled one too."""
    run = made("token.v1")
    asked = request(SHAPES["repeated blank lines"](60_000), HALF)
    with working(Work(deadline=time.monotonic())), pytest.raises(DeadlineExceeded):
        run(asked)
    with working(Watched(last=4)), pytest.raises(Cancelled):
        run(asked)


def calls(run: Callable[[], object]) -> int:
    """How many calls of functions a piece of work makes, the interpreter's own included."""
    count = 0

    def note(frame: object, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    gc.disable()  # its callbacks are calls too, and come when they like
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


def test_a_tenants_work_does_not_tell_what_another_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text new to a tenant costs it the same whether or not another has sent it; sent again it costs less."""
    monkeypatch.setattr("laconic.models.work.TURN", math.inf)  # how often one steps aside depends on time
    pipeline = made("token.v1")  # no lane: waiting for one takes as many calls as it takes time
    parts = [f"Passage {n} tells of a bridge [here](/b/{n}). It fell in {1900 + n}, it is said. " for n in range(40)]

    def probe(tenant: str, texts: Sequence[str]) -> int:
        asked = Request(documents=[Document(text="".join(texts))], budget=HALF, query="which bridge fell?")
        with working(Work(key=tenant)):
            return calls(lambda: pipeline(asked))

    probe("warm", parts[::-1])  # every word is known; this text is not
    before = probe("before", parts)
    probe("other", parts)
    after, again = probe("after", parts), probe("after", parts)
    assert abs(after - before) < 0.005 * before  # what full memories let go of differs by a few calls
    assert again < 0.9 * before


def test_a_models_memory_is_a_tenants_own(compressor: Compressor) -> None:
    """A question's states are kept for who asked it."""
    forward = compressor.model().backend.forward
    cards = forward.card
    asked = (101, 2040, 2003, 102)

    def ask(tenant: str) -> None:
        with working(Work(key=tenant)):
            forward.run([ModelInput(query=asked, segment=(101, 2023, 102), skip=1, count=1)])

    ask("a")
    held = forward._query.cache_info()
    ask("a")
    ask("b")
    now = forward._query.cache_info()
    assert (now.hits - held.hits, now.misses - held.misses) == (1, 1), cards.name


@pytest.mark.parametrize(
    ("run", "unit", "end"),
    [
        (detect, "<!---->", "x"),
        (detect, "```a\n", ""),
        (blocks, "---", " " * 20_000 + "x"),
        (blocks, "a|b\n|-", " " * 20_000 + "x"),
        (identifiers, "a.", ""),
    ],
)
def test_no_pattern_of_ours_tries_every_way(run: Callable[[str], object], unit: str, end: str) -> None:
    """What a pattern may part in many ways it parts in one: comments, fences, trailing white space, dotted words."""
    text = (unit if end.startswith(" ") else unit * (10_000 // len(unit))) + end
    assert min(taken(lambda: run(text)) for _ in range(2)) < 0.25


def test_trees_are_linear() -> None:
    """Lines in a deep list do not each walk up to its root."""

    def run(n: int) -> None:
        tree("".join(" " * d + "- a\n" for d in range(300)) + "x\n" * n, None, [])

    assert growth(run, 10_000, 4) < 1.5


@given(
    lines=st.lists(
        st.sampled_from(["```", "~~~", "````", "``` ", "```a", " ```", "    ```", "x", "", "~~~ x", "~~~\t"]),
        max_size=9,
    )
)
def test_fenced_blocks_are_what_they_were(lines: list[str]) -> None:
    """A fence goes to the first line after it that closes its kind, or stays where none does."""
    text = "\n".join(lines)
    plain = re.compile(r"^ {0,3}(```|~~~)[^\n]*\n.*?^ {0,3}\1[ \t]*$", re.M | re.S)
    assert unfenced(text) == plain.sub("", text)
