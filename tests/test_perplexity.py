"""Recipes over a language model: what each reads, how losses become scores, and what all of them keep to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laconic.compressors import Budget, Document, Pipeline, Request, Segment, parts
from laconic.compressors.phrases import content, phrases
from laconic.compressors.rank import spread
from laconic.compressors.recipes import MODELS, RECIPES
from laconic.compressors.score_dspc import Dspc, prominence, similarity
from laconic.compressors.score_ehpc import Ehpc, looked_at, smooth
from laconic.compressors.score_llmlingua import Llmlingua, Longllmlingua
from laconic.compressors.score_loss import Asked, LossScorer, Text, entering, scale
from laconic.compressors.score_perception import Perception
from laconic.compressors.score_perplexity import Perplexity
from laconic.models import FakeBackend, HfReader, LossInput, LossOutput, Model, Scheduler, TextTokenizer
from laconic.models.fake_backend import FAKE_LM

from .strategies import AWKWARD, texts

LM = sorted(r.name for r in RECIPES.values() if r.kind == "causal")
NOTHING = np.zeros((1, 1, 0))


@pytest.fixture(scope="module")
def fake_lm(tokenizer: TextTokenizer) -> Model:
    return Model(card=FAKE_LM, tokenizer=tokenizer, backend=Scheduler(FakeBackend(FAKE_LM), 2), profile="fake")


def output(text: Sequence[float], after: Sequence[float] = (), attention: np.ndarray = NOTHING) -> LossOutput:
    return LossOutput(text=np.array(text, np.float32), after=np.array(after, np.float32), attention=attention)


def text_of(ids: Sequence[int], text: str = "") -> Text:
    spans = np.array([[i, i + 1] for i in range(len(ids))], np.int64).reshape(-1, 2)
    return Text((101,), tuple(ids), spans, text)


ASKED = Asked((7, 8), "who built it?")
NOBODY = Asked((), "")


def test_there_are_six() -> None:
    """The recipes over a language model, all of which run the embedded one unless told otherwise."""
    assert LM == ["dspc.v1", "ehpc.v1", "llmlingua.v1", "longllmlingua.v1", "perception.v1", "perplexity.v1"]
    assert MODELS["causal"] == "laconic-lm"


@given(st.lists(st.floats(-50, 50), max_size=40))
def test_entering_is_a_rate(values: list[float]) -> None:
    """A token whose rate of entry is r is among the best share r: a quantile threshold at r, ties by position."""
    score = np.array(values)
    rate = entering(score)
    assert sorted(rate) == [(i + 0.5) / len(values) for i in range(len(values))]
    for r in (0.1, 0.5, 0.9):
        kept = np.flatnonzero(rate <= r)
        assert set(kept) == set(np.argsort(-score, kind="stable")[: len(kept)])
    assert (np.abs(scale(rate)) <= 8).all()


def test_perplexity_is_self_information() -> None:
    """Selective-Context: the score is the loss; the text is read once, behind its title alone, whatever is asked."""
    t = text_of([1, 2, 3])
    assert Perplexity().read(ASKED, t) == [LossInput(before=(101,), text=(1, 2, 3))]
    keep, relevance = Perplexity().score(ASKED, t, [output([1.0, 5.0, 9.0])])
    assert keep.tolist() == [-7.0, -3.0, 1.0]
    assert relevance == -3.0


def test_llmlingua_keeps_what_surprises() -> None:
    """The most surprising token enters first."""
    keep, _ = Llmlingua().score(NOBODY, text_of([1, 2, 3]), [output([1.0, 9.0, 5.0])])
    assert np.argsort(-keep).tolist() == [1, 2, 0]


def test_longllmlingua_contrasts() -> None:
    """What the question makes less surprising enters first; relevance is what the text tells of the question."""
    t = text_of([1, 2, 3])
    method = Longllmlingua((9,))
    free, bound, alone = method.read(ASKED, t)
    assert free == LossInput(before=(101,), text=(1, 2, 3), after=(7, 8, 9))
    assert bound == LossInput(before=(101, 7, 8), text=(1, 2, 3))
    assert alone == LossInput(before=(101,), text=(7, 8, 9))
    found = [output([9.0, 5.0, 5.0], [2.0, 2.0, 2.0]), output([8.9, 1.0, 6.0]), output([2.0, 3.0, 2.5])]
    keep, relevance = method.score(ASKED, t, found)
    assert np.argsort(-keep).tolist() == [1, 0, 2]
    assert relevance == pytest.approx(8.0)
    assert method.read(NOBODY, t) == Llmlingua().read(NOBODY, t)


def test_perception_mixes_two_orders() -> None:
    """A fifth of what is kept is what the question explains, the rest what surprises least."""
    losses = np.arange(10.0)[::-1]  # the last token surprises least
    bound = losses.copy()
    bound[0] -= 3  # the question explains the first
    keep, _ = Perception((), lambda text: ()).score(
        ASKED, text_of(range(10)), [output(losses, [1, 1]), output(bound), output([1, 1])]
    )
    best = np.argsort(-keep, kind="stable").tolist()
    assert best[:2] == [9, 8]  # the first of five from the contrast comes at a rate of a quarter
    assert 0 in best[:4]


def test_perception_guides_weigh_half() -> None:
    """Phrases of the question are read behind it and count half."""
    method = Perception((5,), lambda text: (len(text),))
    asked = Asked((7,), "Who built the old bridge in Paris?")
    assert content(asked.text, 3) == ["built", "old bridge", "Paris"]
    free, _, alone = method.read(asked, text_of([1]))
    assert free.after == alone.text == (7, 5, 5, 10, 5)
    _, gain = method.score(asked, text_of([1]), [output([1], [1, 1, 1, 1, 1]), output([1]), output([2, 1, 3, 1, 1])])
    assert gain == pytest.approx(16 * (1 + 0.5 * 2) / 3.5)


def test_dspc_prefers_sentences_that_share_words() -> None:
    """Tokens of the sentence that the query is about come first; both ends are prominent."""
    text = "The bridge was built by Ada. Cats sleep."
    words = text.split()
    starts = np.cumsum([0, *(len(w) + 1 for w in words[:-1])])
    t = Text((101,), tuple(range(8)), np.stack([starts, starts + 1], 1), text)
    asked = Asked((7,), "who built the bridge?")
    near = similarity(asked, t)
    assert near[:6].min() > near[6:].max()
    flat = np.ones((1, 1, 8)) / 8
    keep, _ = Dspc().score(asked, t, [output([1.0] * 8, [1.0], flat), output([1.0] * 8)])
    assert keep[:6].mean() > keep[6:].mean()
    assert prominence(21)[0] < prominence(21)[10] == 1 == prominence(21)[9]


def test_ehpc_reads_the_heads_it_is_told() -> None:
    """Only the named heads' attention counts; without names the first half of the layers."""
    attention = np.zeros((2, 2, 30))
    attention[0, :, 3], attention[1, 1, 25] = 1.0, 1.0
    assert looked_at(attention, [(1, 1)]).argmax() == 25
    assert looked_at(attention, []).argmax() == 3
    keep, _ = Ehpc([(1, 1)]).score(ASKED, text_of(range(30)), [output([0] * 30, [0], attention)])
    assert 21 <= int(keep.argmax()) <= 29
    assert smooth(np.ones(4)).tolist() == [1.0] * 4


def test_spread_is_linear_in_rank() -> None:
    """The best document gains what the worst loses; one alone is left as it is."""
    assert spread([1.0, 3.0, 2.0], 4.0) == [-4.0, 4.0, 0.0]
    assert spread([5.0], 4.0) == [0.0]
    assert spread([], 4.0) == []


def test_equal_inputs_run_once(tokenizer: TextTokenizer) -> None:
    """The question alone is read once for all segments."""
    seen: list[LossInput] = []

    class Watched(FakeBackend):
        def run(self, inputs: Sequence[LossInput]) -> list[LossOutput]:  # type: ignore[override]
            seen.extend(inputs)
            return super().run(inputs)

    scorer = LossScorer(Longllmlingua((9,)), Watched(FAKE_LM), tokenizer)
    scorer("who?", [Segment(document=0, start=0, text=t) for t in ("one", "two", "one")])
    assert len(seen) == len(set(seen)) == 5


@settings(deadline=None, max_examples=60)
@given(text=texts)
def test_phrases_tile(text: str) -> None:
    """Phrases tile any text."""
    cut = phrases(text)
    assert "".join(text[a:b] for a, b in zip(cut.starts, cut.ends, strict=True)) == text


def test_phrases_begin_at_function_words_and_marks() -> None:
    """Function words go with what follows them."""
    text = "The old bridge was built in Paris, by Ada (an engineer)."
    cut = phrases(text)
    found = [text[a:b].strip() for a, b in zip(cut.starts, cut.ends, strict=True)]
    assert found == ["The old bridge", "was built", "in Paris,", "by Ada", "(an engineer)."]


@pytest.mark.parametrize("text", AWKWARD)
@pytest.mark.parametrize("recipe", LM)
def test_awkward_text_is_answered(fake_lm: Model, reader: HfReader, text: str, recipe: str) -> None:
    """No input crashes a recipe, with or without a query, and the budget holds."""
    run = Pipeline(parts(recipe, fake_lm), reader)
    for query in (None, text, "who?"):
        documents = [Document(text=text, title=text[:50]), Document(text="The bridge was built by Ada in 1932.")]
        for unit in (None, "token", "sentence"):
            result = run(Request(documents=documents, query=query, unit=unit, budget=Budget(kind="rate", value=0.4)))
            assert result.tokens_out <= 0.4 * result.tokens_in
            assert result.documents[0].text == "".join(text[s:e] for s, e in result.documents[0].spans)


def test_a_recipe_names_the_model_it_wants(fake_model: Model) -> None:
    """A language-model recipe over a scorer is refused, and says why."""
    from laconic.compressors import InvalidRequest

    with pytest.raises(InvalidRequest, match="needs a causal model; fake is a scorer"):
        parts("perplexity.v1", fake_model)
