"""THE table: a recipe is a versioned name for a choice of parts. A new method is one file and one row here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from laconic.models import Model, Scoring

from .cached import CachedScorer, Store, fingerprint
from .edu import CachedSegmenter, EduSegmenter
from .link import WEIGHT
from .score_late import CachedEncoder, Encoder, LateScorer, SegmentEncoder
from .score_lexical import LexicalScorer
from .score_token import TokenScorer
from .split import SentenceSplitter, WholeSplitter
from .stages import Scorer, Segmenter, Splitter
from .types import Budget, InvalidRequest, UnitName, UnknownName


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, logit))))


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a recipe is made of, bound to a model where it has one."""

    splitter: Splitter
    scorer: Scorer
    unit: UnitName
    coherence: float = 0.0  # share of the sentence's score in a smaller unit's, with a query
    coherence_unasked: float = 0.0  # and without one
    calibrated: bool = False  # scores are logits of probabilities
    temperature: float = 1.0
    offset: float = 0.0
    recall: Sequence[tuple[float, float]] = ()  # (wanted, lowest score to keep), rising
    segmenter: Segmenter | None = None  # of discourse units
    link: float = 0.0  # logits that a document named by a relevant sentence is raised by, with a query
    depth: float = 0.0  # taken from a discourse unit's score, without a query, for every unit it depends on

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """Scores as probabilities (Platt scaling, parameters from the card)."""
        if not self.calibrated:
            return scores
        return 1 / (1 + np.exp(-np.clip(scores / self.temperature + self.offset, -60, 60)))

    def logits(self, probabilities: np.ndarray) -> np.ndarray:
        """The scores at which probabilities begin; the inverse of `probability`."""
        p = np.clip(probabilities, 1e-12, 1 - 1e-12)
        found: np.ndarray = (np.log(p / (1 - p)) - self.offset) * self.temperature
        return found

    def least(self, budget: Budget) -> float:
        """The lowest score that a threshold or a wanted recall keeps."""
        if budget.kind == "recall":
            return next((t for r, t in self.recall if r >= budget.value), -math.inf)
        return float(self.logits(np.array(budget.value)))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One row: what it is called, what it does, whose method it is, and how its parts are made."""

    name: str
    summary: str
    source: str
    unit: UnitName
    needs_model: bool
    build: Callable[[Recipe, Model | None, Store | None], Parts]
    scores: str = ""  # version of how scores are made: recipes of one version share what is cached


def meaning(s: Scoring) -> dict[str, Any]:
    """The fields of Parts that a card decides for a head."""
    return {f: getattr(s, f) for f in ("coherence", "coherence_unasked", "temperature", "offset", "recall")}


def _token_parts(recipe: Recipe, model: Model | None, store: Store | None) -> Parts:
    if model is None:
        raise InvalidRequest(f"recipe {recipe.name} needs a model", param="model")
    card = model.card
    return Parts(
        splitter=SentenceSplitter(lambda texts: [e.spans for e in model.tokenizer.encode(texts)], card.segment_tokens),
        scorer=TokenScorer(model.backend, model.tokenizer),
        unit=recipe.unit,
        calibrated=True,
        segmenter=_segmenter(model, store),
        link=WEIGHT,
        depth=card.edu.depth if card.edu else 0.0,
        **meaning(card),
    )


def _segmenter(model: Model, store: Store | None) -> Segmenter | None:
    if (edu := model.card.edu) is None:
        return None
    found = EduSegmenter(model.backend, model.tokenizer, edu)
    return found if store is None else CachedSegmenter(found, store, fingerprint(model, "edus.1"))


def _edu_parts(recipe: Recipe, model: Model | None, store: Store | None) -> Parts:
    made = _token_parts(recipe, model, store)
    if made.segmenter is None:
        raise InvalidRequest("recipe edu.v1 needs a model with a discourse head", param="model")
    return made


def _late_parts(recipe: Recipe, model: Model | None, store: Store | None) -> Parts:
    if model is None or model.card.late is None:
        raise InvalidRequest(f"recipe {recipe.name} needs a model with a late head", param="model")
    late = model.card.late
    encoder: Encoder = SegmentEncoder(model.backend, model.tokenizer)
    if store is not None:
        encoder = CachedEncoder(encoder, store, fingerprint(model, "codes.1"), late.code)
    return replace(
        _token_parts(recipe, model, store),
        scorer=LateScorer(encoder, model.backend, model.tokenizer, late),
        **meaning(late),
    )


def _lexical_parts(recipe: Recipe, model: Model | None, store: Store | None) -> Parts:
    return Parts(splitter=WholeSplitter(), scorer=LexicalScorer(), unit=recipe.unit)


RECIPES: dict[str, Recipe] = {
    r.name: r
    for r in (
        Recipe(
            name="token.v1",
            summary="token classification; words of the best sentences, to the exact budget",
            source="Provence (ICLR 2025) with a query, LLMLingua-2 (ACL Findings 2024) without",
            unit="word",
            needs_model=True,
            build=_token_parts,
            scores="token.1",
        ),
        Recipe(
            name="sentence.v1",
            summary="token classification pooled over sentences; whole sentences only",
            source="Provence (ICLR 2025), sentence rounding",
            unit="sentence",
            needs_model=True,
            build=_token_parts,
            scores="token.1",
        ),
        Recipe(
            name="edu.v1",
            summary="clauses and phrases that say one thing; each brings what it depends on, or goes",
            source="DISRPT segmentation; discourse dependencies (SciDTB, ACL 2018); tree knapsack (EMNLP 2013)",
            unit="edu",
            needs_model=True,
            build=_edu_parts,
            scores="token.1",
        ),
        Recipe(
            name="late.v1",
            summary="as token.v1, from segments encoded once: a new question over known texts only runs a light head",
            source="late interaction: ColBERT (SIGIR 2020), PreTTR (SIGIR 2020); distilled from token.v1",
            unit="word",
            needs_model=True,
            build=_late_parts,
            scores="late.1",
        ),
        Recipe(
            name="lexical.v1",
            summary="no model: BM25 sentences with a query, word frequency without",
            source="Okapi BM25 (Robertson & Zaragoza 2009); SumBasic (Nenkova & Vanderwende 2005)",
            unit="sentence",
            needs_model=False,
            build=_lexical_parts,
        ),
    )
}
DEFAULT = "token.v1"


def parts(name: str, model: Model | None, store: Store | None = None) -> Parts:
    """The parts of a recipe by name, scores kept in `store`; raises UnknownName."""
    if name not in RECIPES:
        raise UnknownName(f"no recipe {name[:80]!r}; there are {', '.join(RECIPES)}", param="recipe")
    recipe = RECIPES[name]
    if model is None or not recipe.needs_model:
        return recipe.build(recipe, None, None)
    made = recipe.build(recipe, model, store)
    if store is None:
        return made
    return replace(made, scorer=CachedScorer(made.scorer, store, fingerprint(model, recipe.scores)))
