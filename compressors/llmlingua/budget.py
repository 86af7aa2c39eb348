"""The coarse half of LLMLingua (Jiang et al., EMNLP 2023, §4.1) and LongLLMLingua (ACL 2024, §4.1 to §4.3).

Documents are ranked and taken under a token budget, reordered, and given ratios by rank; then sentences likewise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from .reading import SUFFIX, Condition, Mode, Reading

Sentences = Callable[[str], Sequence[str]]
REORDERS = ("original", "sort", "two_stage")
CONDITIONS: tuple[Condition, ...] = ("none", "before", "after")
UNSET = 100  # tokens meant by a target below 0
_BUDGET = re.compile(r"\s*(?:([-+*/])\s*(\d+(?:\.\d*)?|\.\d+)\s*)?")


class Part(NamedTuple):
    """A run of a document's characters, its own rate, and whether it may be compressed at all."""

    length: int
    rate: float
    compress: bool


@dataclass(frozen=True)
class Doc:
    """A context; `parts` tile its text where segments were given; `dynamic` is added to the share of it to keep."""

    text: str
    parts: tuple[Part, ...] | None = None
    dynamic: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The arguments of `compress_prompt` that mean something to a causal model, as the package names and sets them.

    Raises ValueError for what cannot be.
    """

    instruction: str = ""
    question: str = ""
    rate: float = 0.5
    target_token: float = -1
    iterative_size: int = 200
    force_context_ids: Sequence[int] | None = None
    force_context_number: int | None = None
    use_sentence_level_filter: bool = False
    use_context_level_filter: bool = True
    use_token_level_filter: bool = True
    keep_split: bool = False
    keep_first_sentence: int = 0
    keep_last_sentence: int = 0
    keep_sentence_number: int = 0
    high_priority_bonus: float = 100
    context_budget: str = "+100"
    token_budget_ratio: float = 1.4
    condition_in_question: str = "none"
    reorder_context: str = "original"
    dynamic_context_compression_ratio: float = 0.0
    condition_compare: bool = False
    add_instruction: bool = False
    rank_method: str = "llmlingua"
    concate_question: bool = True
    context_segs: Sequence[Sequence[str]] | None = None
    context_segs_rate: Sequence[Sequence[float]] | None = None
    context_segs_compress: Sequence[Sequence[bool]] | None = None
    strict_preserve_uncompressed: bool = True

    def __post_init__(self) -> None:
        if not self.rate <= 1:
            raise ValueError(f"rate is the share of tokens to keep: at most 1, not {self.rate}")
        if self.iterative_size < 1:
            raise ValueError(f"iterative_size must be 1 or more, not {self.iterative_size}")
        if self.reorder_context not in REORDERS:
            raise ValueError(f"reorder_context {self.reorder_context!r} is none of {', '.join(REORDERS)}")
        if self.condition_in_question.removesuffix("_condition") not in CONDITIONS:
            known = ", ".join(c + end for end in ("", "_condition") for c in CONDITIONS)
            raise ValueError(f"condition_in_question {self.condition_in_question!r} is none of {known}")
        if self.rank_method == "longllmlingua" and not self.question:
            raise ValueError("longllmlingua ranks by a question: give one")
        budgeted(0, self.context_budget)

    def condition(self, mode: Mode) -> tuple[Condition, bool]:
        """What documents are ranked given, and whether tokens are scored given the question.

        By a "_condition" behind it, the package does not see that longllmlingua was given no condition.
        """
        name = self.condition_in_question.removesuffix("_condition")
        conditioned = self.condition_compare or name != self.condition_in_question
        if self.rank_method == "llmlingua":
            name = "none"
        elif self.rank_method == "longllmlingua" and name == "none" and not (conditioned and mode == "legacy"):
            name = "after"
        return next(c for c in CONDITIONS if c == name), conditioned


def budgeted(target: float, change: str) -> float:
    """`target` changed as by "+100", "-50", "*1.5", "/2" or ""; raises ValueError for anything else."""
    found = _BUDGET.fullmatch(change)
    if not found or (found[1] == "/" and not float(found[2])):
        raise ValueError(f'context_budget {change!r} is not of the form "+100", "-50", "*1.5", "/2" or ""')
    sign, amount = found[1] or "+", float(found[2] or 0)
    return {"+": target + amount, "-": target - amount, "*": target * amount}[sign] if sign != "/" else target / amount


def documents(context: Sequence[str], s: Settings) -> list[Doc]:
    """Contexts with the segments given for them; raises ValueError where those are not the contexts' own."""
    if s.context_segs is None:
        return [Doc(t) for t in context]
    rates, flags = s.context_segs_rate, s.context_segs_compress
    if rates is None or flags is None or not len(context) == len(s.context_segs) == len(rates) == len(flags):
        raise ValueError("context_segs, context_segs_rate and context_segs_compress have one list for each context")
    out = []
    for text, segs, own, may in zip(context, s.context_segs, rates, flags, strict=True):
        if "".join(segs) != text or not len(segs) == len(own) == len(may):
            raise ValueError("the segments of a context, each with a rate and a flag, must be its text when joined")
        out.append(Doc(text, tuple(Part(len(t), r, c) for t, r, c in zip(segs, own, may, strict=True))))
    return out


def choose_documents(
    reading: Reading, docs: list[Doc], lengths: Sequence[int], target: float, condition: Condition, s: Settings
) -> list[Doc]:
    """The forced ones and the best by rank until the budget is spent, in the order asked for, with their ratios."""
    question = s.question + SUFFIX if s.rank_method == "longllmlingua" else s.question
    costs = reading.costs([d.text for d in docs], question, s.rank_method, condition)
    left = budgeted(UNSET if target < 0 else target, s.context_budget)
    used = list(dict.fromkeys(s.force_context_ids or ()))
    if not set(used) <= set(range(len(docs))):
        raise ValueError(f"force_context_ids {used} name contexts that are not there: there are {len(docs)}")
    if s.strict_preserve_uncompressed:
        used += [i for i, d in enumerate(docs) if i not in used and not all(p.compress for p in d.parts or ())]
    for i in reading.order(costs, s.rank_method):
        left -= lengths[i]
        if i not in used:
            used.append(i)
        if enough(reading, len(used), left, s.force_context_number):
            break
    share = dict(zip(used, slopes(len(used), s.dynamic_context_compression_ratio), strict=True))
    if s.reorder_context == "original":
        used = sorted(used)
    elif s.reorder_context == "two_stage":
        used = used[::2] + used[1::2][::-1]
    return [replace(docs[i], dynamic=share[i]) for i in used]


def enough(reading: Reading, used: int, left: float, number: int | None) -> bool:
    """A number of documents goes before the budget. In the package, which counts none, it is only ever reached by 0."""
    if number is None or reading.legacy:
        return left < 0 or (number is not None and number <= 0)
    return used >= number


def slopes(count: int, most: float) -> list[float]:
    """From +most for the first to -most for the last, evenly."""
    if most <= 0 or count < 2:
        return [0.0] * count
    return [i * (abs(most) / (count - 1)) for i in range(1 - count, count, 2)][::-1]


def choose_sentences(
    reading: Reading, docs: list[Doc], target: float, condition: Condition, sentences: Sentences, s: Settings
) -> list[Doc]:
    """The documents with the best of all their sentences, as far as `token_budget_ratio` times the target reaches."""
    cut = [split(d, sentences) for d in docs]
    flat = [c for each in cut for c in each]
    if len(flat) <= 1:
        return docs
    texts = [c.text for c in flat]
    costs = reading.costs(texts, s.question, s.rank_method, condition)
    costs = favoured(costs, [len(each) for each in cut], condition, reading.legacy, s)
    left = (UNSET if target < 0 else target) * s.token_budget_ratio
    kept = {i for i, c in enumerate(flat) if not all(p.compress for p in c.parts or ())}
    for i in reading.order(costs, s.rank_method):
        left -= reading.length(texts[i])
        kept.add(i)
        if left < 0:
            break
    out, at = [], 0
    for doc, each in zip(docs, cut, strict=True):
        stay = [c for i, c in enumerate(each, at) if i in kept]
        parts = None if doc.parts is None else tuple(p for c in stay for p in c.parts or ())
        out.append(Doc("".join(c.text for c in stay), parts, doc.dynamic))
        at += len(each)
    return out if reading.legacy else [d for d in out if d.text]


def favoured(costs: list[float], counts: Sequence[int], condition: Condition, legacy: bool, s: Settings) -> list[float]:
    """Costs after the bonus of sentences to be kept: the first, the last, and the best of each document.

    The package adds it to perplexities, low ones being good given a question, has it for longllmlingua alone, and takes
    the least perplexed of a document for its best.
    """
    if legacy and s.rank_method != "longllmlingua":
        return costs
    sign = -1 if legacy and condition == "none" else 1
    bonus = s.high_priority_bonus if legacy else -s.high_priority_bonus
    values = [sign * c for c in costs]
    for wanted in (
        range(len(values))[: s.keep_first_sentence],
        range(len(values))[-s.keep_last_sentence or len(values) :],
    ):
        for i in wanted:
            values[i] += bonus
    at = 0
    for n in counts if s.keep_sentence_number else ():
        for i in sorted(range(at, at + n), key=values.__getitem__)[: s.keep_sentence_number]:
            values[i] += bonus
        at += n
    return [sign * v for v in values]


def split(doc: Doc, sentences: Sentences) -> list[Doc]:
    """Its sentences with what stands between them, so that they tile the text; the parts are cut along."""
    starts, at = [], 0
    for sentence in sentences(doc.text):
        found = doc.text.find(sentence, at)
        if found >= 0:
            starts.append(found)
            at = found + len(sentence)
    edges = [0, *starts[1:], len(doc.text)] if doc.text else [0]
    todo = list(doc.parts or ())
    out = []
    for a, b in pairwise(edges):
        own, todo = shared_out(todo, b - a)
        out.append(Doc(doc.text[a:b], None if doc.parts is None else tuple(own)))
    return out


def shared_out(parts: list[Part], length: int) -> tuple[list[Part], list[Part]]:
    """The parts of the first `length` characters, and the rest."""
    own, rest = [], list(parts)
    while length and rest:
        part = rest.pop(0)
        if part.length > length:
            rest.insert(0, part._replace(length=part.length - length))
            part = part._replace(length=length)
        own.append(part)
        length -= part.length
    return own, rest


def merged(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Neighbours alike as one."""
    out: list[Part] = []
    for p in parts:
        if out and out[-1][1:] == p[1:]:
            out[-1] = p._replace(length=out[-1].length + p.length)
        else:
            out.append(p)
    return tuple(out)
