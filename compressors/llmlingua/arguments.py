"""What each argument of the package's calls means over our recipes, and which mean something to some recipes only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ..types import InvalidRequest, Order
from .budget import budgeted
from .tags import Tagged

Context = Sequence[str] | str


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """The arguments that every recipe answers, with the package's defaults."""

    instruction: str = ""
    question: str = ""  # the query
    rate: float = 0.5  # tokens of the prompt out / in, instruction and question counted
    target_token: float = -1  # most tokens of the contexts; goes before the rate
    force_context_ids: Sequence[int] | None = None  # contexts that stay
    force_context_number: int | None = None  # so do this many of the most relevant
    use_sentence_level_filter: bool = False  # whole sentences are chosen first, or only
    use_context_level_filter: bool = True  # contexts compete and may go; False: each is cut to the rate
    use_token_level_filter: bool = True  # False: nothing within sentences, or contexts, goes
    keep_split: bool = False  # blank lines stay, and the word before each
    keep_first_sentence: int = 0  # of the first context
    keep_last_sentence: int = 0  # of the last
    keep_sentence_number: int = 0  # the best of every context
    context_budget: str = "+100"  # tokens of the contexts that stay, from those wanted
    token_budget_ratio: float = 1.4  # tokens of the sentences that stay / those wanted
    reorder_context: str = "original"
    dynamic_context_compression_ratio: float = 0.0  # added to the best context's rate, taken from the last one's
    add_instruction: bool = False  # to the query
    rank_method: str = "llmlingua"
    concate_question: bool = True  # whether the prompt ends with the question
    target_context: int = -1  # contexts that stay
    context_level_rate: float = 1.0  # their share of the tokens
    context_level_target_token: float = -1  # their tokens
    return_word_label: bool = False
    word_sep: str = "\t\t|\t\t"
    label_sep: str = " "
    force_tokens: Sequence[str] = ()  # strings that stay, each with its unit
    force_reserve_digit: bool = False
    drop_consecutive: bool = False  # forced strings that repeat the one before
    strict_preserve_uncompressed: bool = True  # contexts with compress=False in them stay

    @property
    def budgeted(self) -> bool:
        """Whether tokens are named, not a rate."""
        return self.target_token != -1

    @property
    def even(self) -> bool:
        """Whether each context has a rate of its own, so that none is left out for another."""
        return not self.use_context_level_filter or self.dynamic_context_compression_ratio > 0


# Of the arguments that only some recipes answer: the package's default, and other values by the recipe they describe.
LIMITED: dict[str, tuple[Any, Mapping[str, Sequence[Any]]]] = {
    "iterative_size": (200, {}),
    "high_priority_bonus": (100, {}),
    "condition_in_question": ("none", {"longllmlingua.v1": ("after", "after_condition", "none_condition")}),
    "condition_compare": (False, {"longllmlingua.v1": (True,)}),
    "token_to_word": ("mean", {}),
    "chunk_end_tokens": ((".", "\n"), {}),
}
# Arguments that are nothing without another.
NEEDS = {
    "target_context": "use_context_level_filter",
    "context_level_rate": "use_context_level_filter",
    "context_level_target_token": "use_context_level_filter",
    "context_budget": "use_context_level_filter",
    "dynamic_context_compression_ratio": "use_context_level_filter",
    "token_budget_ratio": "use_sentence_level_filter",
    "word_sep": "return_word_label",
    "label_sep": "return_word_label",
    "drop_consecutive": "force_tokens",
    "add_instruction": "instruction",
}
RANKS = "llmlingua", "longllmlingua", "bm25", "gzip"
ORDERS: dict[str, Order] = {"original": "source", "sort": "relevance", "two_stage": "two_stage"}
COUNTS = ("keep_first_sentence", "keep_last_sentence", "keep_sentence_number")


def wishes(given: Mapping[str, Any], recipe: str) -> Wishes:
    """A call's arguments for a recipe; raises InvalidRequest for those that mean nothing to it, or at all."""
    known = {f.name: f.default for f in fields(Wishes)}
    for name, (default, takes) in LIMITED.items():
        value = plain(given.get(name, default))
        if value != default and value not in takes.get(recipe, ()):
            others = [r for r, values in takes.items() if value in values]
            hint = f"; it describes {', '.join(others)}" if others else ""
            message = f"{name}={given[name]!r} means nothing to recipe {recipe}{hint}; mode='legacy' takes it"
            raise InvalidRequest(message, param=name)
    made = Wishes(**{name: plain(value) for name, value in given.items() if name in known})
    for name, other in NEEDS.items():
        if getattr(made, name) != known[name] and not getattr(made, other):
            raise InvalidRequest(f"{name} means nothing without {other}", param=name)
    check(made)
    return made


def plain(value: Any) -> Any:
    """Lists as tuples, as the defaults are."""
    return tuple(value) if isinstance(value, list) else value


def check(w: Wishes) -> None:
    """Raises InvalidRequest for values that mean nothing."""
    if not 0 < w.rate <= 1:
        raise InvalidRequest("rate must be in (0, 1]", param="rate")
    for name in ("target_token", "context_level_target_token", "target_context"):
        if (value := getattr(w, name)) != -1 and not 1 <= value < math.inf:
            raise InvalidRequest(f"{name} must be at least 1, or -1 for none", param=name)
    for name in ("context_level_rate", "dynamic_context_compression_ratio"):
        if not 0 <= getattr(w, name) <= 1:
            raise InvalidRequest(f"{name} must be in [0, 1]", param=name)
    for name in COUNTS:
        if getattr(w, name) < 0:
            raise InvalidRequest(f"{name} must not be negative", param=name)
    if not 1 <= w.token_budget_ratio < math.inf:
        raise InvalidRequest("token_budget_ratio must be at least 1", param="token_budget_ratio")
    if isinstance(w.force_tokens, str) or not all(isinstance(t, str) for t in w.force_tokens):
        raise InvalidRequest("force_tokens must be a list of strings", param="force_tokens")
    if w.reorder_context not in ORDERS:
        raise InvalidRequest(f"reorder_context must be one of {', '.join(ORDERS)}", param="reorder_context")
    if w.rank_method not in RANKS:
        raise InvalidRequest(f"rank_method must be one of {', '.join(RANKS)}", param="rank_method")
    if w.rank_method != "llmlingua" and not w.question.strip():
        raise InvalidRequest(f"rank_method={w.rank_method!r} needs a question", param="question")
    context_tokens(w.context_budget, 0)


def context_tokens(budget: str, target: float) -> float:
    """`context_budget` over the tokens wanted: "+100", "*1.5", "-20" or "/2". Parsed, never evaluated."""
    try:
        return budgeted(target, budget)
    except (TypeError, ValueError) as e:
        raise InvalidRequest(str(e), param="context_budget") from None


def named(given: Mapping[str, Any]) -> dict[str, Any]:
    """A call's arguments by name."""
    return {k: v for k, v in given.items() if k not in ("self", "context", "json_data", "json_config")}


def strings(context: Context) -> list[str]:
    found = [context] if isinstance(context, str) else list(context)
    for n, text in enumerate(found):
        if not isinstance(text, str):
            raise InvalidRequest(f"must be a string, not {type(text).__name__}", param=f"context.{n}")
    return found


def given_segments(
    texts: Sequence[str],
    segs: Sequence[Sequence[str]],
    rates: Sequence[Sequence[float]] | None,
    flags: Sequence[Sequence[bool]] | None,
) -> list[list[Tagged]]:
    """`context_segs`, its rates and flags as tagged runs; raises InvalidRequest where they do not fit."""
    out = []
    for n, text in enumerate(texts):
        try:
            found = [Tagged(*x) for x in zip(segs[n], (rates or ())[n], (flags or ())[n], strict=True)]
        except (IndexError, ValueError):
            found = []
        if "".join(t.text for t in found) != text or not all(t.rate is None or 0 < t.rate <= 1 for t in found):
            message = "segments, each with a rate in (0, 1] and a flag, must be the context's text when joined"
            raise InvalidRequest(message, param=f"context_segs.{n}")
        out.append(found)
    return out


def check_constructor(
    open_api: Mapping[str, Any] | None, use_llmlingua2: bool, llmlingua2: Mapping[str, Any] | None
) -> None:
    """Raises InvalidRequest for what of the configurations means nothing."""
    if open_api:
        raise InvalidRequest("open_api_config means nothing: no text is sent to anybody", param="open_api_config")
    known = {"max_batch_size": 50, "max_force_token": 100}
    for key, value in (llmlingua2 or {}).items():
        if not use_llmlingua2 or key not in known or (key == "max_batch_size" and value != known[key]):
            raise InvalidRequest(f"{key}={value!r} means nothing here", param=f"llmlingua2_config.{key}")
