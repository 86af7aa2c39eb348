"""The share of cases that keep their meaning, and faults in what is kept of evaluation sets, for recipes and units."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from laconic.compressors import Budget, Compressor, Document, Request
from laconic.models.question_sets import names

from ..data import Example, examples
from .cases import Case, by_hand, made
from .checks import KINDS, aligned, faults

METHODS: tuple[tuple[str, str | None], ...] = (
    ("token.v1", None),
    ("late.v1", None),
    ("sentence.v1", None),
    ("edu.v1", None),
    ("lexical.v1", None),
    ("auto.v1", None),
    ("token.v1", "phrase"),
    ("token.v1", "word"),
    ("token.v1", "token"),
    ("llmlingua.v1", None),
)
RATES = (0.1, 0.25, 0.5)
Run = Callable[[Request], list[str]]  # each document's answer


def label(recipe: str, unit: str | None) -> str:
    return f"{recipe} by {unit}" if unit else recipe


def cases() -> list[Case]:
    return [*by_hand(), *made()]


def judge(run: Callable[[Request], str], given: Sequence[Case], what: str) -> dict[str, Any]:
    """The share of cases whose meaning is kept, in all and by kind, and of those that ask for it what is found."""
    good: defaultdict[str, list[bool]] = defaultdict(list)
    found: list[bool] = []
    use: list[float] = []  # characters kept / asked for
    wrong = []
    for case in tqdm(given, desc=f"cases, {what}", unit="case"):
        answers = {rate: run(case.request(rate)) for rate in case.rates}
        whole = sum(map(len, case.documents))
        use += [len(text) / whole / rate for rate, text in answers.items()]
        bad = [f"{rate}: {f}" for rate, text in answers.items() for f in case.faults(text)]
        good[case.kind].append(not bad)
        missing = case.lacks(answers[max(case.rates)])
        found += [not missing] * bool(case.must)
        if bad or missing:
            wrong.append({"kind": case.kind, "query": case.query, "faults": bad[:3], "lacks": missing})
    every = [g for of in good.values() for g in of]
    kinds = {kind: round(sum(of) / len(of), 3) for kind, of in sorted(good.items())}
    share = {
        "use": round(sum(use) / len(use), 3),
        "kept": round(sum(every) / len(every), 4),
        "found": round(sum(found) / max(1, len(found)), 4),
    }
    return {"cases": len(every), **share, "kinds": kinds, "wrong": wrong}


def asked(e: Example, rate: float, unit: str | None) -> Request:
    documents = [Document(id=str(i), text=t, title=h) for i, (t, h) in enumerate(zip(e.texts, e.titles, strict=True))]
    return Request(documents=documents, query=e.query, budget=Budget(kind="rate", value=rate), unit=unit)  # type: ignore[arg-type]


def inspect(
    compressor: Compressor, recipe: str, unit: str | None, given: Sequence[tuple[str, Example]], rates: Sequence[float]
) -> dict[str, Any]:
    """How many answers have each kind of fault, of how many where a whole sentence fits."""
    count: Counter[str] = Counter()
    shown: defaultdict[str, list[str]] = defaultdict(list)
    answers = 0
    for name, e in tqdm(given, desc=f"sets, {label(recipe, unit)}", unit="request"):
        for rate in rates:
            found = compressor(asked(e, rate, unit), recipe=recipe)
            if any("no whole sentence" in w for w in found.warnings):
                continue
            answers += 1
            total: Counter[str] = Counter()
            for text, d in zip(e.texts, found.documents, strict=True):
                if d.kind is None:
                    own = faults(text, d.spans)
                    total.update(own)
                    for kind in (k for k, n in own.items() if n and len(shown[k]) < 5):
                        shown[kind].append(f"{name}, {rate}: {d.text[:300]}")
            count.update(kind for kind in KINDS if total[kind])
    return {"answers": answers, "faulty": {kind: count[kind] for kind in KINDS}, "shown": dict(shown)}


def measure(
    data: Path | None,
    compressor: Compressor,
    *,
    count: int,
    documents: int,
    only: Sequence[str] = (),
    methods: Sequence[str] = (),
    package: Run | None = None,
    peers: int = 30,
    keep: Callable[[dict[str, Any]], object] = lambda found: None,
) -> dict[str, Any]:
    """Figures of every method, beside the package's where there is one; `keep` gets them as they come."""
    given = cases()
    sets = (
        [(n, e) for n in only or names(data) for e in examples(data, n, count=count, documents=documents)]
        if data
        else []
    )
    out: dict[str, Any] = {}
    for recipe, unit in METHODS:
        what = label(recipe, unit)
        if methods and what not in methods:
            continue

        def run(request: Request, recipe: str = recipe, unit: str | None = unit) -> str:
            return compressor(replace(request, unit=unit or request.unit), recipe=recipe).text  # type: ignore[arg-type]

        few = sets if recipe != "llmlingua.v1" else sets[:: max(1, len(sets) // peers)]
        out[what] = {"cases": judge(run, given, what), "sets": inspect(compressor, recipe, unit, few, RATES)}
        keep(out)
    if package:
        out["llmlingua package"] = {
            "cases": judge(lambda r: "\n\n".join(package(r)), given, "the package"),
            "sets": beside(package, sets[:: max(1, len(sets) // peers)]),
        }
    return out


def beside(package: Run, given: Sequence[tuple[str, Example]]) -> dict[str, Any]:
    """The package's answers, which have no offsets."""
    count: Counter[str] = Counter()
    for _, e in tqdm(given, desc="sets, the package", unit="request"):
        for rate in RATES:
            total: Counter[str] = Counter()
            for text, answer in zip(e.texts, package(asked(e, rate, None)), strict=True):
                total.update(faults(text, aligned(text, answer)))
            count.update(kind for kind in KINDS if total[kind])
    return {"answers": len(given) * len(RATES), "faulty": {kind: count[kind] for kind in KINDS}, "shown": {}}


def table(found: dict[str, Any]) -> str:
    """A row a method: cases that keep their meaning, those by hand whose answer is found, answers with each fault."""
    head = ["", "meaning kept", "found", "kept / asked", "answers", *KINDS]
    rows = [head, ["---", *["--:"] * (len(head) - 1)]]
    for name, f in found.items():
        answers = f["sets"]["answers"]
        shares = [f"{f['sets']['faulty'][k] / answers:.1%}" if answers else "" for k in KINDS]
        c = f["cases"]
        made = [f"{c['kept']:.1%}", f"{c['found']:.0%}", f"{c['use']:.2f}"]
        rows.append([f"`{name}`", *made, str(answers), *shares])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
