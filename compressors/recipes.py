"""THE table: a recipe is a versioned name for a choice of parts. A new method is one file and one row here."""

from __future__ import annotations

from dataclasses import replace

from laconic.models import Model

from .binding import (
    Recipe,
    classifier_parts,
    content_parts,
    edu_parts,
    ids,
    late_parts,
    lexical_parts,
    loss_parts,
    token_parts,
)
from .cached import CachedScorer, Store, fingerprint
from .content import LAYOUTS, auto
from .content.laid import Layout
from .lossless import Lossless
from .part import Parts
from .score_dspc import Dspc
from .score_ehpc import Ehpc
from .score_llmlingua import CLAIM, Llmlingua, Longllmlingua
from .score_perception import Perception
from .score_perplexity import Perplexity
from .types import InvalidRequest, UnknownName

SPREAD = 0.25  # share by which the best document's rate is above the middle one's; LongLLMLingua's own range


def _content(name: str, summary: str, source: str, layout: Layout | None = None) -> Recipe:
    """A row of the table: token.v1 over units of the content's structure."""
    build = content_parts(layout or LAYOUTS[name])
    return Recipe(
        name=name, summary=summary, source=source, unit="sentence", kind="scorer", build=build, scores="token.1"
    )


RECIPES: dict[str, Recipe] = {
    r.name: r
    for r in (
        Recipe(
            name="token.v1",
            summary="token classification pooled over sentences; the best whole ones that fit, to the exact budget",
            source="Provence (ICLR 2025) with a query, LLMLingua-2 (ACL Findings 2024) without",
            unit="sentence",
            kind="scorer",
            build=token_parts,
            scores="token.1",
        ),
        Recipe(
            name="sentence.v1",
            summary="token classification pooled over sentences; whole sentences only",
            source="Provence (ICLR 2025), sentence rounding",
            unit="sentence",
            kind="scorer",
            build=token_parts,
            scores="token.1",
        ),
        Recipe(
            name="edu.v1",
            summary="clauses and phrases that say one thing; each brings what it depends on, or goes",
            source="DISRPT segmentation; discourse dependencies (SciDTB, ACL 2018); tree knapsack (EMNLP 2013)",
            unit="edu",
            kind="scorer",
            build=edu_parts,
            scores="token.1",
        ),
        Recipe(
            name="late.v1",
            summary="as token.v1, from segments encoded once: a new question over known texts only runs a light head",
            source="late interaction: ColBERT (SIGIR 2020), PreTTR (SIGIR 2020); distilled from token.v1",
            unit="sentence",
            kind="scorer",
            build=late_parts,
            scores="late.2",
        ),
        Recipe(
            name="perplexity.v1",
            summary="what a language model could have guessed is left out; phrases by self-information",
            source="Selective-Context (EMNLP 2023)",
            unit="phrase",
            kind="causal",
            build=loss_parts(0.0, lambda model: Perplexity()),
            scores="perplexity.1",
        ),
        Recipe(
            name="llmlingua.v1",
            summary="surprising tokens of each segment, more of documents that surprise; no query",
            source="LLMLingua (EMNLP 2023)",
            unit="word",
            kind="causal",
            build=loss_parts(0.0, lambda model: Llmlingua()),
            scores="llmlingua.1",
        ),
        Recipe(
            name="longllmlingua.v1",
            summary="tokens that the question makes less surprising, most from documents that tell of the question",
            source="LongLLMLingua (ACL 2024)",
            unit="word",
            kind="causal",
            build=loss_parts(SPREAD, lambda model: Longllmlingua(ids(model)(CLAIM))),
            scores="longllmlingua.1",
        ),
        Recipe(
            name="perception.v1",
            summary="documents by guiding questions, tokens partly by the question and partly by what distracts least",
            source="Perception Compressor (Findings of NAACL 2025)",
            unit="word",
            kind="causal",
            build=loss_parts(SPREAD, lambda model: Perception(ids(model)(CLAIM), ids(model))),
            scores="perception.1",
        ),
        Recipe(
            name="dspc.v1",
            summary="sentences by TF-IDF, tokens by attention, lowered loss and place",
            source="DSPC (2025)",
            unit="word",
            kind="causal",
            build=loss_parts(SPREAD, lambda model: Dspc()),
            scores="dspc.1",
        ),
        Recipe(
            name="ehpc.v1",
            summary="tokens that evaluator heads look back to from the question",
            source="EHPC (NeurIPS 2025)",
            unit="word",
            kind="causal",
            build=loss_parts(SPREAD, lambda model: Ehpc(model.card.evaluators)),
            scores="ehpc.1",
        ),
        Recipe(
            name="llmlingua2.v1",
            summary="any LLMLingua-2 checkpoint: words by token classification without a query, to the exact budget",
            source="LLMLingua-2 (ACL Findings 2024)",
            unit="word",
            kind="classifier",
            build=classifier_parts,
            scores="classifier.1",
        ),
        Recipe(
            name="lexical.v1",
            summary="no model: BM25 sentences with a query, word frequency without",
            source="Okapi BM25 (Robertson & Zaragoza 2009); SumBasic (Nenkova & Vanderwende 2005)",
            unit="sentence",
            kind=None,
            build=lexical_parts,
        ),
        Recipe(
            name="meta.v1",
            summary="no model, nothing lost: what comes again is said once, in a dictionary before the text",
            source="Lossless Token Sequence Compression via Meta-Tokens (2025)",
            unit="sentence",
            kind=None,
            build=lexical_parts,
            pipeline=Lossless,
            rate=1.0,
        ),
        _content(
            "auto.v1", "each document by what it is: JSON, code, HTML, logs, Markdown or prose", "see those", auto
        ),
        _content(
            "code.v1",
            "programs by their syntax: signatures with what matters in them; what is kept parses again",
            "LongCodeZip (ASE 2025), functions first, then what they hold",
        ),
        _content(
            "log.v1",
            "lines folded by template, with counts; errors and what the query names are kept",
            "Drain (ICWS 2017), in spirit",
        ),
        _content("html.v1", "blocks and sentences inside their tags; no scripts, no attributes", "HtmlRAG (WWW 2025)"),
        _content("markdown.v1", "sentences, items, rows and code under what they belong to", "HtmlRAG (WWW 2025)"),
        _content(
            "json.v1",
            "members and items of JSON; what is kept parses again",
            "TOON-like sampling of arrays; two-step pruning as in HtmlRAG (WWW 2025)",
        ),
        _content(
            "skill.v1",
            "instruction files: front matter, links and rules first, examples and background last",
            "Agent Skills (SKILL.md), AGENTS.md",
        ),
        _content(
            "tools.v1",
            "definitions of tools: those a query needs, each with its whole schema; descriptions by sentences",
            "JSON Schema; the shapes of OpenAI, Anthropic and the Model Context Protocol",
        ),
    )
}
DEFAULT = "token.v1"
MODELS = {"causal": "laconic-lm"}  # what a kind of recipe runs where no model of that kind is named


def parts(name: str, model: Model | None, store: Store | None = None) -> Parts:
    """The parts of a recipe by name, scores kept in `store`; raises UnknownName."""
    if name not in RECIPES:
        raise UnknownName(f"no recipe {name[:80]!r}; there are {', '.join(RECIPES)}", param="recipe")
    recipe = RECIPES[name]
    if recipe.kind is None:
        return recipe.build(recipe, None, None)
    if model is None or model.card.kind != recipe.kind:
        what = f"{model.card.name} is a {model.card.kind}" if model else "there is none"
        raise InvalidRequest(f"recipe {name} needs a {recipe.kind} model; {what}", param="model")
    made = recipe.build(recipe, model, store)
    if store is None:
        return made
    return replace(made, scorer=CachedScorer(made.scorer, store, fingerprint(model, recipe.scores)))
