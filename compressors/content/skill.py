"""Instruction files (SKILL.md, AGENTS.md): Markdown in which what to do comes before what it is like.

The front matter's name and description, by which an agent chooses a skill, come first; then links to what can be opened
when needed, rules and steps; examples and background last. The order is made of words and of headings, no model's.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np

from ..render import Rendered
from ..types import Mark, Span, Units
from . import markdown
from .laid import Laid, spans_between, view_of

# logits; what the encoder gives sentences of such files without a query lies between -6 and 2
ROUTING, WHEN, LINK, RULE, STEP = 9.0, 6.0, 5.0, 4.0, 3.0
FENCE, ASIDE = -1.0, -6.0
_FRONT = re.compile(r"\ufeff?---[ \t]*\r?\n")
_ENDED = re.compile(r"^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.MULTILINE)
_FIELD = re.compile(r"^(?=[^\s#-])", re.MULTILINE)
_ROUTES = re.compile(r"(?i)(?:name|description|when_to_use|globs|triggers?)[ \t]*:")
_ITEM = re.compile(r"\s*(?:[-*+>]\s+)*(?P<step>\d{1,3}[.)]\s+)?(?:\[[ x]\]\s+)?[*_`]{0,3}")
_LINKED = re.compile(
    r"\]\((?!#|https?:)[^()\s]|(?<![\w/])(?:\.{0,2}/)?[\w-]{1,60}(?:/[\w.-]{1,60})*\.(?:md|json|ya?ml|txt)\b"
)
_BOUND = re.compile(
    r"\b(?:must(?:n't)?|never|always|do not|don't|cannot|only|required?|ensure|make sure|should(?:n't)?|shall|avoid"
    r"|important|forbidden|before you|instead of)\b",
    re.IGNORECASE,
)
_VERB = re.compile(
    r"(?:add|apply|ask|avoid|build|call|check|choose|cite|commit|confirm|convert|copy|create|decide|define|delete"
    r"|do|document|edit|ensure|explain|extract|find|fix|follow|format|generate|give|go|handle|ignore|include"
    r"|install|keep|leave|limit|list|load|look|make|mark|move|name|note|open|pass|pick|place|prefer|print"
    r"|provide|put|quote|read|refer|remove|rename|replace|report|reply|return|run|save|search|select|send|set"
    r"|show|skip|sort|start|state|stop|summarize|summarise|take|test|tell|treat|try|update|upload|use|validate"
    r"|verify|wait|write)\b",
    re.IGNORECASE,
)
_ASIDES = re.compile(
    r"(?i)\b(?:examples?|samples?|background|history|motivation|rationale|why|about|overview|introduction|licen[cs]e|faq"
    r"|credits|acknowledge?ments|changelog|philosophy)\b"
)
_ROUTED = re.compile(r"(?i)\b(?:when to (?:use|apply)|when (?:not )?to|triggers?|use (?:this )?(?:when|for|if))\b")
_SAMPLE = re.compile(r"(?i)[\s>*_-]*(?:for (?:example|instance)|e\.g\.|example\b|historically|originally|background\b)")
_HASHES = re.compile(r"\s*#{1,6}\s")


def lay(text: str, marker: str) -> Laid | None:
    """The layout of an instruction file; None for what has no Markdown in it."""
    front = front_matter(text)
    laid = markdown.lay(text[front:], marker)
    if laid is None:
        return None
    laid = replace(laid, kind="skill.v1", prior=laid.prior + worth(text[front:], laid.units))
    return after(text, front, laid) if front else laid


def front_matter(text: str) -> int:
    """Where the front matter ends, 0 where there is none."""
    begun = _FRONT.match(text)
    ended = _ENDED.search(text, begun.end()) if begun else None
    return ended.end() if ended else 0


def worth(text: str, units: Units) -> np.ndarray:
    """What is added to each unit's score for what it is; float64 [N]."""
    assert units.heads is not None
    aside = np.zeros(len(units), bool)
    routed = np.zeros(len(units), bool)
    out = np.zeros(len(units))
    for n, (start, end, head) in enumerate(zip(units.starts.tolist(), units.ends.tolist(), units.heads, strict=True)):
        said = text[start:end]
        above = 0 <= head < n
        heading = _HASHES.match(said) is not None
        aside[n] = (above and aside[head]) or (heading and _ASIDES.search(said) is not None)
        routed[n] = (above and routed[head]) or (heading and _ROUTED.search(said) is not None)
        out[n] = own(said) if not heading else 0.0
        if aside[n]:
            out[n] = min(out[n], 0.0) + ASIDE
        elif routed[n] and not heading:
            out[n] = max(out[n], WHEN)
    return out


def own(said: str) -> float:
    """What a sentence, an item or a block of code is worth by its own words."""
    text = said.lstrip()
    if text.startswith(("```", "~~~")):
        return FENCE
    if _SAMPLE.match(text):
        return ASIDE
    begun = _ITEM.match(text)
    assert begun is not None
    rule = RULE if _BOUND.search(text) else 0.0
    step = STEP if begun["step"] or _VERB.match(text, begun.end()) else 0.0
    return max(LINK if _LINKED.search(text) else 0.0, rule + step / 2, step)


def after(text: str, front: int, laid: Laid) -> Laid:
    """The layout with front matter before it: its lines as an opening and an ending, its fields between them."""
    opened, closed = text.index("\n") + 1, text.rindex("\n", 0, front - 1) + 1
    fields = [m.start() + opened for m in _FIELD.finditer(text[opened:closed])]
    edges = sorted({0, opened, *fields, closed, front})
    count = len(edges) - 1
    said = [text[a:b] for a, b in pairwise(edges)]
    body = laid.units
    assert body.heads is not None
    heads = np.concatenate(
        ([count - 1], np.zeros(count - 2, np.int64), [-1], np.where(body.heads < 0, -1, body.heads + count))
    )
    starts = np.concatenate((edges[:-1], body.starts + front)).astype(np.int64)
    ends = np.concatenate((edges[1:], body.ends + front)).astype(np.int64)
    routes = np.array([ROUTING if _ROUTES.match(s) else 0.0 for s in said])
    view, views = view_of(["", *said[1:-1], ""])

    def form(kept: np.ndarray) -> Rendered:
        own = kept[:count] & kept[0]
        rest = laid.form(kept[count:])
        spans = [Span(a + front, b + front) for a, b in rest.spans]
        if own.any():
            first = spans_between(text, starts[:count][own], ends[:count][own])
            if spans:  # the line that ends it keeps its end
                first[-1] = Span(first[-1].start, front)
            spans = [*first, *spans]
        return Rendered(spans, [Mark(m.at + front, m.text) for m in rest.marks])

    return replace(
        laid,
        units=Units(starts=starts, ends=ends, heads=heads),
        prior=np.concatenate((routes, laid.prior)),
        view=view + laid.view,
        views=Units(
            starts=np.concatenate((views.starts, laid.views.starts + len(view))),
            ends=np.concatenate((views.ends, laid.views.ends + len(view))),
        ),
        form=form,
    )
