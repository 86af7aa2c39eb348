"""What LLMLingua and LongLLMLingua ask of a causal language model and its tokenizer; numbers only, no torch."""

from __future__ import annotations

import gzip
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from laconic.models import Backend, LossInput

Mode = Literal["legacy", "fixed"]
Condition = Literal["none", "before", "after"]
Asked = tuple[Sequence[int], int]
Ranker = Callable[[str, list[str]], list[float]]

SINKS = 10  # first tokens that a text longer than the model's positions is always read with
SUFFIX = " We can get the answer to this question in the given documents."  # LongLLMLingua §4.1, as released
PERPLEXITY = ("llmlingua", "longllmlingua")
K1, B, EPSILON = 1.5, 0.75, 0.25  # of rank_bm25's BM25Okapi


class Tokenizer(Protocol):
    """As `tokenizers.Tokenizer`; it truncates nothing and pads nothing."""

    def encode(self, sequence: str, *, add_special_tokens: bool) -> Any:
        """An encoding with `ids` and `offsets`."""
        ...

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str: ...


class Losses(Protocol):
    """Surprisal in nats of the tokens of each sequence from a place (1 or later) on, given all before; float32."""

    def __call__(self, asked: Sequence[Asked]) -> Sequence[np.ndarray]: ...


def losses_of(backend: Backend) -> Losses:
    """A causal model's, one call for all sequences; those that begin alike up to their places are read so once."""

    def found(asked: Sequence[Asked]) -> list[np.ndarray]:
        given = [LossInput(before=tuple(ids[:at]), text=tuple(ids[at:])) for ids, at in asked]
        return [o.text for o in backend.run(given)]

    return found


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A tokenizer, its model's losses, the tokens that one reads at once, and rankers by name, higher being better."""

    tokenizer: Tokenizer
    losses: Losses
    positions: int
    mode: Mode
    rankers: Mapping[str, Ranker] = field(default_factory=dict)

    @property
    def legacy(self) -> bool:
        return self.mode == "legacy"

    def ids(self, text: str, special: bool = False) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=special).ids)

    def length(self, text: str) -> int:
        """Tokens; the package counts special ones with every text."""
        return len(self.ids(text, self.legacy))

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=False)

    def surprisal(self, ids: Sequence[int], since: int, sinks: int = SINKS) -> np.ndarray:
        """Losses of `ids[since:]`."""
        return self.surprisals([(ids, since)], sinks)[0]

    def surprisals(self, asked: Sequence[Asked], sinks: int = SINKS) -> list[np.ndarray]:
        """Losses of each; what exceeds the positions is read in parts, behind its first and its nearest tokens.

        The first ones matter: attention sinks (Xiao et al., ICLR 2024), which the package's cache keeps as well.
        """
        parts = [self._parts(ids, since, sinks) for ids, since in asked]
        found = iter(self.losses([p for each in parts for p in each]) if any(parts) else ())
        none = np.zeros(0, np.float32)
        return [np.concatenate([none, *(next(found) for _ in each)]) for each in parts]

    def _parts(self, ids: Sequence[int], since: int, sinks: int) -> list[Asked]:
        if since >= len(ids):
            return []
        if len(ids) <= self.positions:
            return [(ids, since)]
        out: list[Asked] = []
        step = max(1, self.positions // 2)
        for at in range(since, len(ids), step):
            part = ids[at : at + step]
            room = self.positions - len(part)
            first = min(sinks, room // 2) if at > room else 0
            before = [*ids[:first], *ids[max(first, at - room + first) : at]]
            out.append(([*before, *part], len(before)))
        return out

    def perplexities(self, texts: Sequence[str], question: str, condition: Condition) -> list[float]:
        """Mean loss of each text (`none`), of it after the question (`before`), or of the question `after` it.

        nan where there is nothing to read. The package reads no further than the positions.
        """
        asked = []
        for text in texts:
            whole, known = {
                "none": (text, ""),
                "before": (question + text, question),
                "after": (text + question, text),
            }[condition]
            ids = self.ids(whole, special=True)
            ids = ids[: self.positions] if self.legacy else ids
            skip = len(self.ids(known, special=True)) - 1 if condition != "none" else 0
            # nothing before the boundary: the package's slice then begins at -1
            read = range(1, len(ids))[skip if self.legacy else max(0, skip) :]
            asked.append((ids, read.start if read else len(ids)))
        return [float(x.mean()) if len(x) else math.nan for x in self.surprisals(asked)]

    def costs(self, texts: list[str], question: str, method: str, condition: Condition) -> list[float]:
        """What texts are ranked by, lower being better; raises ValueError for an unknown method."""
        if method in PERPLEXITY:
            sign = -1 if condition == "none" else 1
            return [sign * p for p in self.perplexities(texts, question, condition)]
        if method == "bm25":
            return [-s for s in bm25(question, texts)]
        if method == "gzip":
            return [distance(t, question) for t in texts]
        if method in self.rankers:
            return [-s for s in self.rankers[method](question, texts)]
        known = sorted({*PERPLEXITY, "bm25", "gzip", *self.rankers})
        raise ValueError(f"rank_method {method!r} is none of {', '.join(known)}")

    def order(self, costs: Sequence[float], method: str) -> list[int]:
        """Numbers of texts, best first. Ties keep their order, but for the package's sort of many scores."""
        if self.legacy and method not in PERPLEXITY:
            return [int(i) for i in np.argsort(np.array(costs, float))]
        known = costs if self.legacy else [math.inf if math.isnan(c) else c for c in costs]
        return sorted(range(len(known)), key=known.__getitem__)

    def boundary(self, prefix: str, text: str) -> int:
        """How many tokens of `prefix + text` are the prefix's: those that begin in it."""
        starts = [a for a, _ in self.tokenizer.encode(prefix + text[:100], add_special_tokens=False).offsets]
        return next((i for i, a in enumerate(starts) if a >= len(prefix)), len(starts))


def bm25(query: str, texts: Sequence[str]) -> list[float]:
    """Okapi BM25 over words between spaces; words in most texts count EPSILON of a mean word, as in `rank_bm25`."""
    counts = [Counter(t.split(" ")) for t in texts]
    lengths = [c.total() for c in counts]
    mean = sum(lengths) / len(lengths)
    df = Counter(w for c in counts for w in c)
    idf = {w: math.log(len(texts) - n + 0.5) - math.log(n + 0.5) for w, n in df.items()}
    floor = EPSILON * sum(idf.values()) / len(idf)
    out = np.zeros(len(texts))
    for w in query.split(" "):
        weight = idf.get(w, 0.0)
        n = np.array([c[w] for c in counts])
        norm = n + K1 * (1 - B + B * np.array(lengths) / mean)
        out += (floor if weight < 0 else weight) * (n * (K1 + 1) / norm)
    return [float(s) for s in out]


def distance(x: str, y: str) -> float:
    """Normalized compression distance (Jiang et al., ACL Findings 2023)."""
    a, b, both = (len(gzip.compress(t.encode())) for t in (x, y, f"{x} {y}"))
    return (both - min(a, b)) / max(a, b)
