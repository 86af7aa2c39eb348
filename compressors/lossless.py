"""Meta-tokens: runs of a reader's tokens that come again are said once, in a dictionary before the text.

As in "Lossless Token Sequence Compression via Meta-Tokens" (Harvill et al., 2025, arXiv 2506.00307), over texts in the
place of token ids, since what is handed over is a text: a meta-token is a character that the text lacks and the reader
counts cheaply. Everything is kept: the way back is `laconic.client.coded.restore`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from laconic.client.coded import NAMES, parsed, written

from .allocate import limit, own, report
from .asked import check
from .draft import Draft
from .pipeline import Pipeline
from .rank import arrange, by_relevance
from .render import join
from .runs import Search
from .stages import Reader
from .types import Budget, Compressed, Request, Result, Span
from .units import printable

ROUNDS = 3  # of looking for runs, each in what is left
AROUND, SAMPLE = 16, 6  # characters beside a place, and places of an entry, that are counted with name and value
UNPAID = "nothing comes again often enough to pay: the input is returned unchanged"


class Lossless(Pipeline):
    """`meta.v1` and one reader: `code → render`. Its parts, or a ranker, only say which documents come first."""

    def __call__(self, request: Request) -> Result:
        """Code; raises InvalidRequest, or BudgetUnreachable where a coded text exceeds its budget."""
        check(request, self.parts, self.ranker)
        documents = self._drafts(request)
        best = self._relevance(request, documents)
        chosen = set(by_relevance(best)[: request.top_documents])
        texts = [self._coded(p) if i in chosen else "" for i, p in enumerate(documents)]
        order = arrange(best, request.order)
        whole = join(request.separator, (p.document.text for p in documents))
        made = join(request.separator, (texts[i] for i in order))
        *counts, tokens_in, tokens_out = self.reader.count([printable(t) for t in (*texts, whole, made)])
        out = [compressed(*each) for each in zip(documents, texts, counts, strict=True)]
        warnings: list[str] = []
        for i, d in enumerate(out):
            budget = own(request, i)
            if budget is not None and request.documents[i].compress:
                report(excess(budget, d.tokens_in, d.tokens_out), request, f"documents.{i}.budget", warnings)
        if request.scope == "global":
            report(excess(request.budget, tokens_in, tokens_out), request, "budget", warnings)
        return Result(
            text=made,
            documents=out,
            order=order,
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            segments=0,
            cached=0,
            warnings=[*warnings, UNPAID] if made == whole else warnings,
        )

    def _relevance(self, request: Request, documents: Sequence[Draft]) -> list[float]:
        """What documents are ordered by; the same for all where nobody asks."""
        if request.order == "source" and request.top_documents is None:
            return [0.0] * len(documents)
        self._split(request, documents)
        self._score(request, documents)
        return [d.relevance for d in documents]

    def _coded(self, p: Draft) -> str:
        return code(p.document.text, self.reader, p.token_spans) if p.document.compress else p.document.text


def compressed(p: Draft, text: str, tokens: int) -> Compressed:
    """One document's result: without spans where it was coded, whole or left out where not."""
    same = text == p.document.text
    return Compressed(
        id=p.document.id,
        text=text,
        spans=[Span(0, len(text))] if same and text else [],
        score=None,
        tokens_in=p.tokens_in,
        tokens_out=tokens,
        segments=0,
        cached=0,
        kind=None if same or not text else "meta.v1",
    )


def excess(budget: Budget, tokens_in: int, tokens_out: int) -> int:
    """Tokens over a budget; a rate of 1 is none, so that a text which must be marked as not coded can be."""
    free = budget.kind == "rate" and budget.value >= 1
    return 0 if free else tokens_out - limit(budget, tokens_in)


@dataclass(slots=True)
class Entry:
    """A value and where in the text it is replaced."""

    value: str
    starts: list[int]
    name: str = ""
    saved: float = 0.0  # tokens, by the reader's count of a few places


def code(text: str, reader: Reader, spans: np.ndarray | None = None) -> str:
    """The text with a dictionary before it where that has fewer of the reader's tokens (`spans`), else the text.

    `client.coded.restore` gives back every text: one that looks coded is put behind an empty dictionary.
    """
    if spans is None:
        spans = reader.spans([printable(text)])[0]
    names = cheapest(text, reader)
    found = measured(text, repeats(text, spans, names), names, reader) if names else []
    while found:
        coded = assembled(text, found)
        if reader.count([printable(coded)])[0] < len(spans):
            return coded
        found = found[: len(found) // 2]
    return text if parsed(text) is None else written({}, text)


def cheapest(text: str, reader: Reader) -> list[tuple[str, int]]:
    """Characters that the text lacks and what each costs between letters, cheapest first."""
    free = sorted(set(NAMES) - set(text), key=NAMES.index)
    apart, *each = reader.count(["x x", *(f"x{c}x" for c in free)])
    return sorted(((c, max(1, n - apart)) for c, n in zip(free, each, strict=True)), key=lambda pair: pair[1])


def repeats(text: str, spans: np.ndarray, names: Sequence[tuple[str, int]]) -> list[Entry]:
    """Runs worth a name, at most one for each but the last, which may have to stand for line feeds."""
    bounds = np.unique(np.concatenate(([0, len(text)], spans.ravel())))
    edges = bounds.tolist()
    pieces = [text[a:b] for a, b in pairwise(edges)]
    weight = np.bincount(np.maximum(bounds.searchsorted(spans[:, 1]) - 1, 0), minlength=len(pieces))
    search = Search(pieces, weight[: len(pieces)], names[0][1])
    for _ in range(ROUNDS):
        if not search.round(len(names) - 1):
            break
    return [
        Entry(text[edges[at[0]] : edges[at[0] + length]], [edges[p] for p in at.tolist()])
        for at, length in search.found
    ]


def measured(text: str, entries: Sequence[Entry], names: Sequence[tuple[str, int]], reader: Reader) -> list[Entry]:
    """Entries with names, the most frequent with the cheapest, that save tokens where they stand; the best first."""
    ranked = sorted(entries, key=lambda e: -len(e.starts))
    texts: list[str] = []
    for e, (name, _) in zip(ranked, names, strict=False):
        e.name = name
        texts.append(f"{name}={e.value}\n")
        for a in sample(e.starts):
            b = a + len(e.value)
            left, right = text[max(0, a - AROUND) : a], text[b : b + AROUND]
            texts += [f"{left}{e.value}{right}", f"{left}{name}{right}"]
    counts = iter(reader.count([printable(t) for t in texts]))
    for e in ranked:
        line = next(counts)
        gains = [next(counts) - next(counts) for _ in sample(e.starts)]
        e.saved = len(e.starts) * sum(gains) / len(gains) - line
    return sorted((e for e in ranked if e.saved > 0), key=lambda e: -e.saved)


def sample(starts: list[int]) -> list[int]:
    """A few of them, evenly."""
    return starts[:: -(-len(starts) // SAMPLE)]


def assembled(text: str, entries: Sequence[Entry]) -> str:
    """The coded text."""
    feed = ""
    if any("\n" in e.value for e in entries):
        taken = set(text) | {e.name for e in entries}
        feed = next(c for c in NAMES if c not in taken)
    body, last = [], 0
    places = sorted((start, n) for n, e in enumerate(entries) for start in e.starts)
    for start, n in places:
        body += [text[last:start], entries[n].name]
        last = start + len(entries[n].value)
    order = sorted(entries, key=lambda e: e.starts[0])
    return written({e.name: e.value for e in order}, "".join([*body, text[last:]]), feed)
