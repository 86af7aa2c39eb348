"""How the parts of a recipe are bound to a model and to what keeps scores: one function per row or several alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from laconic.models import Model, Scoring

from .cached import Store, fingerprint
from .content.laid import Layout
from .edu import CachedSegmenter, EduSegmenter
from .part import Parts
from .pipeline import Pipeline
from .score_late import CachedEncoder, Encoder, LateScorer, SegmentEncoder
from .score_lexical import LexicalScorer
from .score_loss import FULL, LossScorer, Method
from .score_plain import PlainScorer, asked_or_not
from .score_token import TokenScorer
from .split import SentenceSplitter, WholeSplitter
from .stages import Segmenter, Splitter
from .types import InvalidRequest, UnitName


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One row: what it is called, what it does, whose method it is, and how its parts are made.

    `kind` is the kind of model it needs (see Card), None for none.
    """

    name: str
    summary: str
    source: str
    unit: UnitName
    kind: str | None
    build: Callable[[Recipe, Model | None, Store | None], Parts]
    pipeline: type[Pipeline] = Pipeline
    rate: float = 0.5  # the budget of a request that names none
    scores: str = ""  # version of how scores are made: recipes of one version share what is cached


def meaning(s: Scoring) -> dict[str, Any]:
    """The fields of Parts that a card decides for a head."""
    decided = ("coherence", "coherence_unasked", "temperature", "offset", "relevance", "recall_levels")
    return {f: getattr(s, f) for f in decided}


def token_parts(recipe: Recipe, model: Model | None, store: Store | None) -> Parts:
    assert model is not None  # see parts
    card = model.card
    made = Parts(
        splitter=splitter(model),
        scorer=TokenScorer(model.backend, model.tokenizer),
        unit=recipe.unit,
        calibrated=True,
        segmenter=segmenter(model, store),
        company=True,
        depth=card.edu.depth if card.edu else 0.0,
        **meaning(card),
    )
    return with_plain(made, model)


def content_parts(layout: Layout) -> Callable[..., Parts]:
    """Parts of token.v1, over what a layout cuts; what it declines is prose."""

    def build(recipe: Recipe, model: Model | None, store: Store | None) -> Parts:
        return replace(token_parts(recipe, model, store), content=layout)

    return build


def with_plain(made: Parts, model: Model) -> Parts:
    """The same parts, what is kept without a query left to the discourse encoder where the model has one for it."""
    if not (edu := model.card.edu) or not edu.keep:
        return made
    plain = PlainScorer(EduSegmenter(model.backend, model.tokenizer, edu), edu)
    return replace(made, scorer=asked_or_not(made.scorer, plain), coherence_unasked=edu.coherence)


def splitter(model: Model) -> Splitter:
    return SentenceSplitter(lambda texts: [e.spans for e in model.tokenizer.encode(texts)], model.card.segment_tokens)


def classifier_parts(recipe: Recipe, model: Model | None, store: Store | None) -> Parts:
    assert model is not None
    scorer = TokenScorer(model.backend, model.tokenizer)
    return Parts(
        splitter=splitter(model),
        scorer=lambda query, segments: scorer(None, segments),  # it has no place for a query
        unit=recipe.unit,
        calibrated=True,
    )


def segmenter(model: Model, store: Store | None) -> Segmenter | None:
    if (edu := model.card.edu) is None:
        return None
    found = EduSegmenter(model.backend, model.tokenizer, edu)
    return found if store is None else CachedSegmenter(found, store, fingerprint(model, "edus.2"))


def edu_parts(recipe: Recipe, model: Model | None, store: Store | None) -> Parts:
    made = token_parts(recipe, model, store)
    if made.segmenter is None:
        raise InvalidRequest("recipe edu.v1 needs a model with a discourse head", param="model")
    return made


def late_parts(recipe: Recipe, model: Model | None, store: Store | None) -> Parts:
    assert model is not None
    if (late := model.card.late) is None:
        raise InvalidRequest(f"recipe {recipe.name} needs a model with a late head", param="model")
    made = token_parts(recipe, model, store)
    encoder: Encoder = SegmentEncoder(model.backend, model.tokenizer)
    if store is not None:
        encoder = kept = CachedEncoder(encoder, store, fingerprint(model, "codes.1"), late.code)
        made = replace(made, warm=kept.warm)
    scorer = LateScorer(encoder, model.backend, model.tokenizer, late)
    return with_plain(replace(made, scorer=scorer, **meaning(late)), model)


def loss_parts(spread: float, method: Callable[[Model], Method]) -> Callable[..., Parts]:
    """Parts of a perplexity method; `spread` as LongLLMLingua's dynamic ratio, in rates."""

    def build(recipe: Recipe, model: Model | None, store: Store | None) -> Parts:
        assert model is not None
        scorer = LossScorer(method(model), model.backend, model.tokenizer)
        return Parts(splitter=splitter(model), scorer=scorer, unit=recipe.unit, spread=FULL * spread)

    return build


def ids(model: Model) -> Callable[[str], tuple[int, ...]]:
    return lambda text: model.tokenizer.encode([text])[0].ids


def lexical_parts(recipe: Recipe, model: Model | None, store: Store | None) -> Parts:
    return Parts(splitter=WholeSplitter(), scorer=LexicalScorer(), unit=recipe.unit)
