"""Small requests, each with what must stand together and what must not be said; by hand, or made from patterns.

Names, numbers and texts are invented.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from laconic.compressors import Budget, Document, Request

RATES = (0.5, 0.35, 0.25, 0.15)
EACH = 25  # cases of a kind


@dataclass(frozen=True, kw_only=True)
class Case:
    """One request without its budget. `must` is asked at the largest rate: is it found? The rest at every rate."""

    kind: str
    documents: tuple[str, ...]
    query: str | None = None
    titles: tuple[str | None, ...] = ()
    rates: tuple[float, ...] = RATES
    must: tuple[str, ...] = ()  # regular expressions over the answer's text
    mustnot: tuple[str, ...] = ()
    together: tuple[tuple[str, str], ...] = ()  # where the first stands the second does too
    more: dict[str, Any] = field(default_factory=dict)  # of the request

    def request(self, rate: float) -> Request:
        titles = self.titles or (None,) * len(self.documents)
        return Request(
            documents=[
                Document(id=str(i), text=t, title=h)
                for i, (t, h) in enumerate(zip(self.documents, titles, strict=False))
            ],
            query=self.query,
            budget=Budget(kind="rate", value=rate),
            **self.more,
        )

    def faults(self, text: str) -> list[str]:
        """What an answer says that it must not."""
        found = [f"says {p}" for p in self.mustnot if re.search(p, text, re.DOTALL)]
        return found + [f"{a!r} without {b!r}" for a, b in self.together if a in text and b not in text]

    def lacks(self, text: str) -> list[str]:
        """What an answer at the largest rate should have and has not."""
        return [p for p in self.must if not re.search(p, text, re.DOTALL)]


def by_hand() -> list[Case]:
    """Inputs that failed once, here or elsewhere."""
    out = []
    for line in resources.files(__package__).joinpath("by_hand.jsonl").read_text("utf-8").splitlines():
        raw = json.loads(line)
        given = raw["request"]
        documents = given.get("documents") or [{"text": given["text"]}]
        documents = [{"text": d} if isinstance(d, str) else d for d in documents]
        out.append(
            Case(
                kind=raw["kind"],
                documents=tuple(d["text"] for d in documents),
                titles=tuple(d.get("title") for d in documents),
                query=given.get("query"),
                rates=tuple(raw.get("rates") or RATES),
                must=tuple(raw["must"]),
                mustnot=tuple(raw["mustnot"]),
            )
        )
    return out


PEOPLE = ("Ada Lindqvist", "Ben Okafor", "Cara Mendes", "Dario Weiss", "Elif Tanaka", "Femi Novak", "Greta Holm")
PLACES = ("Port Ellen", "Nova Harbour", "Saint Oria", "Lower Brae", "Cape Linden", "Upper Vale")
THINGS = ("the boiler", "the ferry", "the archive", "the north gate", "the press", "the generator", "the old bridge")
DRUGS = ("Velorin", "Praxitol", "Somadine", "Ketavil", "Orfenal", "Nubicor")
OTHERS = ("ibuprofen", "alcohol", "grapefruit juice", "lithium", "warfarin", "antacids")
FILLERS = (
    "The office opens at nine on weekdays.",
    "A map hangs beside the entrance.",
    "The report has four chapters and an index.",
    "Visitors may leave their coats in the hall.",
    "The paint was renewed two years ago.",
    "Most of the staff live in the town.",
    "There is a small garden behind the house.",
    "The printer stands on the second floor.",
    "Lunch is served in the canteen.",
    "The windows face the river.",
    "A bus stops in front of the building.",
    "The library keeps the older volumes.",
)
MONTHS = ("January", "March", "June", "August", "October", "December")


class Draw:
    """A seeded hand for one case."""

    def __init__(self, seed: str) -> None:
        self.rng = random.Random(seed)

    def one(self, of: Sequence[str]) -> str:
        return self.rng.choice(of)

    def some(self, of: Sequence[str], count: int) -> list[str]:
        return self.rng.sample(of, count)

    def number(self, low: int, high: int) -> int:
        return self.rng.randint(low, high)

    def among(self, *said: str, fillers: int = 5) -> str:
        """The sentences, in their order, among others."""
        rest = self.some(FILLERS, fillers)
        places = sorted(self.rng.sample(range(fillers + 1), min(len(said), fillers + 1)))
        for at, sentence in reversed(list(zip(places, said, strict=True))):
            rest.insert(at, sentence)
        return " ".join(rest)


def made(each: int = EACH) -> Iterator[Case]:
    """Cases of every pattern, always the same ones."""
    from .patterns import PATTERNS

    for kind, make in PATTERNS.items():
        for n in range(each):
            yield make(kind, Draw(f"{kind} {n}"), n)


Pattern = Callable[[str, Draw, int], Case]
