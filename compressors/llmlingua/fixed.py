"""The package's calls as requests to our pipeline: prompts of contexts, with tags or without, and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..pipeline import Pipeline
from ..types import Span, UnitName
from . import jsondata
from .arguments import Wishes, context_tokens
from .passes import GAP, Passes, Room
from .plan import Part, excerpt, labelled, parts_of, spans, without_repeats
from .tags import Tagged


def compress(pipeline: Pipeline, w: Wishes, contexts: Sequence[Sequence[Tagged]], *, tagged: bool) -> dict[str, Any]:
    """A prompt made of contexts; `tagged`: runs have rates of their own, the call's decides which contexts stay."""
    texts = ["".join(t.text for t in c) for c in contexts]
    untouched = [n for n, c in enumerate(contexts) if not all(t.compress for t in c)]
    p = Passes(pipeline, w, texts, untouched if w.strict_preserve_uncompressed else ())

    def prompt(kept: Sequence[str]) -> str:
        return GAP.join(t for t in (w.instruction, *kept, w.question if w.concate_question else "") if t)

    before, around = p.count(GAP.join(t for t in (w.instruction, *texts, w.question) if t)), p.count(prompt([]))
    limit = math.floor(w.target_token if w.budgeted else w.rate * before)

    def excess(parts: list[Part]) -> int:
        out = p.rendered(shown(p, parts))
        return p.count(GAP.join(out) if w.budgeted else prompt(out)) - limit

    room = Room(tokens=limit if w.budgeted else limit - around - (p.count(GAP) if around else 0), excess=excess)
    kept = shown(p, chosen(p, p.protect(parts_of(contexts)), room, tagged=tagged))
    out = p.rendered(kept)
    listed = documents(p, kept, [str(n) for n in range(len(texts))])
    found = answer(prompt(out), before, p.count(prompt(out)), listed, p.warnings)
    if w.return_word_label:
        pairs = [pair for t, s in zip(texts, kept, strict=True) for pair in labelled(t, s)]
        found["fn_labeled_original_prompt"] = w.word_sep.join(f"{word}{w.label_sep}{label}" for word, label in pairs)
    return {**found, "compressed_prompt_list": out}


def chosen(p: Passes, parts: list[Part], room: Room, *, tagged: bool) -> list[Part]:
    """What of the parts is kept: contexts first, then sentences, then what the recipe selects in them."""
    w = p.w
    narrow = tagged or w.context_budget != Wishes.context_budget
    coarse = context_tokens(w.context_budget, max(0, room.tokens)) if narrow else None
    if not w.use_token_level_filter and not w.use_sentence_level_filter:
        if not w.use_context_level_filter or len(p.texts) == 1:
            p.warnings.append("every filter is off: nothing is compressed")
            return parts
        return p.fitted(room, lambda t: of(p.contexts(t, whole=True), parts))
    stay = p.contexts(coarse)
    parts = of(stay, parts)
    if w.rate == 1 and not w.budgeted and not tagged:
        return parts
    if w.use_sentence_level_filter and w.use_token_level_filter:
        parts = p.sentences(parts, room.tokens * w.token_budget_ratio)
    unit: UnitName | None = None if w.use_token_level_filter else "sentence"
    total = max(1, sum(p.count(x.text) for x in parts))
    if tagged:
        rates = p.rates(stay, w.target_token / total if w.budgeted else w.rate)
        if not w.budgeted:
            return p.choose(parts, None, rates, unit)
        return p.fitted(room, lambda t: p.choose(parts, t, rates, unit))
    if w.even:
        return p.fitted(room, lambda t: p.choose(parts, t, p.rates(stay, t / total), unit))
    return p.fitted(room, lambda t: p.shared(parts, t, unit))


def compress_json(pipeline: Pipeline, w: Wishes, data: Mapping[str, Any], config: jsondata.Config) -> dict[str, Any]:
    """JSON whose texts are compressed each on its own; keys that may go compete where the context filter is on."""
    data = jsondata.normal(data)
    leaves, removable = jsondata.read(data, config)
    names = list(data)
    p = Passes(
        pipeline, w, [dump({k: v}) for k, v in data.items()], [n for n, k in enumerate(names) if k not in removable]
    )
    before = p.count(GAP.join(t for t in (dump(data), w.question) if t))
    limit = math.floor(w.target_token if w.budgeted else w.rate * before)
    keys = [names[n] for n in p.ordered(p.contexts(context_tokens(w.context_budget, limit)))]
    leaves = [x for x in leaves if x.key in keys]
    # the values of what stays: none of them goes for another
    inner = Passes(pipeline, replace(w, use_context_level_filter=False), [x.text for x in leaves])

    def made(parts: list[Part]) -> dict[str, Any]:
        texts = {x.place: excerpt(x.text, s) for x, s in zip(leaves, shown(inner, parts), strict=True)}
        return jsondata.rebuilt(data, texts, keys)

    room = Room(tokens=limit - p.count(dump(made([]))), excess=lambda parts: p.count(dump(made(parts))) - limit)
    values = [Part(context=n, start=0, text=x.text, rate=x.rate) for n, x in enumerate(leaves)]
    parts = chosen(inner, inner.protect(values), room, tagged=True)
    out = made(parts)
    listed = documents(inner, shown(inner, parts), [x.pointer for x in leaves])
    return answer(out, before, p.count(dump(out)), listed, inner.warnings)


def dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def of(contexts: Sequence[int], parts: Sequence[Part]) -> list[Part]:
    return [x for x in parts if x.context in contexts]


def shown(p: Passes, parts: Sequence[Part]) -> list[list[Span]]:
    """What is kept of each context."""
    found = spans(p.texts, parts)
    if p.w.drop_consecutive:
        return [without_repeats(t, s, p.w.force_tokens) for t, s in zip(p.texts, found, strict=True)]
    return found


def documents(p: Passes, kept: Sequence[Sequence[Span]], ids: Sequence[str]) -> list[dict[str, Any]]:
    """Each context with the offsets of what is kept of it, its tags not counted, and how relevant it is (0 to 1)."""
    out = []
    for n, (id_, text, found) in enumerate(zip(ids, p.texts, kept, strict=True)):
        left = excerpt(text, found)
        tokens = {"tokens_in": p.count(text), "tokens_out": p.count(left)}
        out.append({"id": id_, "text": left, "spans": [tuple(s) for s in found], "score": p.scores.get(n), **tokens})
    return out


def answer(prompt: Any, before: int, after: int, listed: list[dict[str, Any]], warnings: list[str]) -> dict[str, Any]:
    """The package's keys (`saving` in its price of GPT-4) and ours."""
    ratio = before / after if before and after else 1
    return {
        "compressed_prompt": prompt,
        "origin_tokens": before,
        "compressed_tokens": after,
        "ratio": f"{ratio:.1f}x",
        "rate": f"{100 / ratio:.1f}%",
        "saving": f", Saving ${(before - after) * 0.06 / 1000:.1f} in GPT-4.",
        "documents": listed,
        "warnings": warnings,
    }
