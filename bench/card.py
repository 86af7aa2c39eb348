"""A model's card as a page for people, from `card.json` and the runs of `laconic bench quality`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from laconic.models import Card

from .report import METRICS


def page(card: Card, quality: Mapping[str, Any] | None, full: Mapping[str, Any] | None) -> str:
    """Markdown; `quality` is a run in int8, `full` the same questions in fp32."""
    facts = card.facts
    lines = [
        f"# {card.name}, revision {card.revision}\n",
        f"{card.summary}. Licence {card.licence}. Base: {facts['base']}.",
        f"{facts['parameters']['frozen']:,} parameters frozen, {facts['parameters']['trained']:,} trained.\n",
        f"Limits: {facts['limits']}.\n",
        *trained(card),
        *held_out(card),
        *calibrated(card),
        *discourse(card),
    ]
    if quality and full:
        lines += differences(quality, full)
    lines += ["## Files\n", "| file | sha256 |", "|---|---|"]
    lines += [f"| {name} | `{mark}` |" for name, mark in sorted(card.sha256.items())]
    return "\n".join([*lines, ""])


def trained(card: Card) -> list[str]:
    """How each head was trained, and on what."""
    runs = {"scorer": card.facts["training"]}
    if card.late:
        runs["late head"] = card.late.facts["training"]
    if card.edu:
        runs["discourse head"] = card.edu.facts
    lines = ["## Training\n", "| head | steps | rate | seed | device | date |", "|---|---|---|---|---|---|"]
    for name, run in runs.items():
        steps = " after ".join(f"{r['steps']:,}" for r in chain(run))
        lines.append(f"| {name} | {steps} | {run['rate']} | {run['seed']} | {run['device']} | {run['date']} |")
    data = card.facts["data"]
    sets = ", ".join(f"{name} {count:,}" for name, count in data["queries_per_set"].items())
    licences = "; ".join(f"{name}: {licence}" for name, licence in data["licences"].items())
    lines += ["", f"Queries a pass: {sets}. Licences of what it was trained on: {licences}."]
    if card.edu:
        lines.append(f"Discourse units: {card.edu.facts['licences']}.")
    return [*lines, ""]


def chain(run: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """A run, and those before it whose weights it went on from."""
    while run:
        yield run
        run = run.get("went_on_from")


def held_out(card: Card) -> list[str]:
    """Evidence recall on groups never trained on, of each head."""
    by = {"scorer": card.facts["held_out"]["by_set"]}
    if card.late:
        by["late head"] = card.late.facts["held_out"]
    sets = [name for name in by["scorer"] if "@" not in name]
    lines = [
        "## On groups never trained on\n",
        "Evidence recall of whole sentences over ten segments, at 0.25 / 0.1 of the tokens.\n",
        "| set | " + " | ".join(by) + " |",
        "|---" * (len(by) + 1) + "|",
    ]
    for name in sets:
        cells = (f"{found[name]:.3f} / {found[f'{name}@0.1']:.3f}" for found in by.values())
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def calibrated(card: Card) -> list[str]:
    """What a wanted recall kept, and how much it took, on both kinds of data; the diagrams."""
    lines = [
        "## Budgets by recall\n",
        "Share of evidence kept (share of tokens it took); `laconic bench calibrate`. On the right, the share of "
        "tokens kept of documents that were asked another question of their set, as a rule one they do not answer.\n",
    ]
    for recipe, part in (("token.v1", card.facts), ("late.v1", card.late.facts if card.late else {})):
        if not (found := part.get("calibration")):
            continue
        wanted = [key for key in found if key.startswith("at ")]
        lines += [f"### {recipe}\n", f"![reliability of {recipe}](reliability-{recipe}.png)\n"]
        heads = [*wanted, *(f"asked amiss, {w}" for w in wanted)]
        lines += ["| | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
        for kind in ("held_back", "evaluation"):
            cells = [*(pair(found[w]["recall_and_rate"].get(kind)) for w in wanted), *[""] * len(wanted)]
            lines.append(f"| **{kind.replace('_', ' ')}, mean** | " + " | ".join(cells) + " |")
            for name in found[wanted[0]].get(kind, {}):
                cells = [pair(found[w][kind][name]) for w in wanted]
                cells += [
                    amiss(found[w].get("elsewhere", {}).get(name) if kind == "evaluation" else None) for w in wanted
                ]
                lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines += ["", *graded(found)]
    return lines


def graded(found: Mapping[str, Any]) -> list[str]:
    """What a document's score means, where it was measured."""
    if "error" not in found:
        return []
    lines = [
        f"Expected error of calibration of documents' scores, before and after ({found['documents']:,} documents):\n",
        "| text and question | before | after |",
        "|---|---|---|",
    ]
    rows = [f"| {kind} | {before:.3f} | {after:.3f} |" for kind, (before, after) in found["error"].items()]
    return [*lines, *rows, ""]


def amiss(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.2f}"


def pair(found: tuple[float, float] | None) -> str:
    return f"{found[0]:.3f} ({found[1]:.2f})" if found else "–"


def discourse(card: Card) -> list[str]:
    """Boundary F1 and heads, where they were measured."""
    measured = card.edu.facts.get("measured") if card.edu else None
    if not measured:
        return []
    lines = [
        "## Discourse units\n",
        "| set | texts | units | boundary F1 | precision | recall | heads |",
        "|---" * 7 + "|",
    ]
    for name, m in measured.items():
        low, high = m["f1_ci"]
        cells = (m["texts"], m["units"], f"{m['f1']} ({low} to {high})", m["precision"], m["recall"], m["heads"])
        lines.append(f"| {name} | " + " | ".join(map(str, cells)) + " |")
    return [*lines, ""]


def differences(quality: Mapping[str, Any], full: Mapping[str, Any]) -> list[str]:
    """int8 minus fp32 in points, the mean over sets of every metric and rate, by recipe."""
    lines = [
        "## int8 beside fp32\n",
        "Points that int8 is above (+) or below (-) fp32 on the same questions, mean over sets (the worst set).\n",
    ]
    rates = [str(r) for r in quality["rates"]]
    lines += ["| recipe | metric | " + " | ".join(rates) + " |", "|---" * (len(rates) + 2) + "|"]
    shared = [name for name in quality["sets"] if name in full["sets"]]
    ran = [set(e["methods"]) for run in (quality, full) for name, e in run["sets"].items() if name in shared]
    for recipe in (r for r in ("token.v1", "late.v1", "edu.v1", "sentence.v1") if all(r in names for names in ran)):
        for metric in METRICS:
            cells = []
            for rate in rates:
                gaps = {}
                for name in shared:
                    a, b = (run["sets"][name]["methods"][recipe][rate][metric] for run in (quality, full))
                    if a is not None and b is not None:
                        gaps[name] = 100 * (a - b)
                worst = min(gaps, key=lambda name: gaps[name])
                cells.append(f"{sum(gaps.values()) / len(gaps):+.2f} ({worst} {gaps[worst]:+.1f})")
            lines.append(f"| {recipe} | {metric.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return [*lines, ""]
