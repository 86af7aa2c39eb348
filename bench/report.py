"""From measured JSON to what people look at: Markdown tables and one plot per set."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .plots import colours, subplots, write

METRICS = ("evidence_recall", "full_support", "answer_kept")


def table(result: dict[str, Any], pictures: Mapping[str, Path] | None = None) -> str:
    """One Markdown table per set: a row per method, a column per metric and rate; the best in bold."""
    out = []
    for name, entry in result["sets"].items():
        rates = [str(r) for r in result["rates"]]
        heads = [f"{m.replace('_', ' ')} @{r}" for m in METRICS for r in rates]
        out.append(f"### {name} ({entry['examples']} questions)\n")
        if pictures and name in pictures:
            out.append(f"![{name}: metrics over the rate]({pictures[name].name})\n")
        out.append("| method | " + " | ".join(heads) + " | true rate |")
        out.append("|---" * (len(heads) + 2) + "|")
        columns = {(m, r): [v[r][m] for v in entry["methods"].values()] for m in METRICS for r in rates}
        for method, figures in entry["methods"].items():
            cells = [cell(figures[r][m], columns[m, r], figures[r].get(f"{m}_ci")) for m in METRICS for r in rates]
            true = " / ".join(f"{figures[r]['rate']:.3f}" for r in rates)
            out.append(f"| {method} | " + " | ".join(cells) + f" | {true} |")
        out.append("")
    return "\n".join(out)


def cell(value: float | None, column: list[float | None], interval: tuple[float, float] | None = None) -> str:
    """The mean, bold where it is the column's best, and half its 95 % interval."""
    if value is None:
        return "–"
    best = max(v for v in column if v is not None)
    shown = f"**{value:.3f}**" if value == best else f"{value:.3f}"
    return f"{shown} ±{(interval[1] - interval[0]) / 2:.2f}" if interval else shown


def plots(result: dict[str, Any], folder: Path) -> list[Path]:
    """`folder/SET.png`: each metric over the rate, a line per method."""
    folder.mkdir(parents=True, exist_ok=True)
    out = []
    for name, entry in result["sets"].items():
        figure, axes = subplots(ncols=len(METRICS), figsize=(13, 4), sharex=True)
        for axis, metric in zip(axes, METRICS, strict=True):
            axis.set_prop_cycle(color=colours())
            for n, (method, figures) in enumerate(entry["methods"].items()):
                points = [(float(r), f[metric], f[f"{metric}_ci"]) for r, f in figures.items() if f[metric] is not None]
                if points:
                    ours = method.endswith(".v1") and method != "lexical.v1"
                    x, y, ci = zip(*points, strict=True)
                    # the first on top, those under it wider: lines that coincide are all seen
                    under = min(n, 4)
                    style: dict[str, Any] = {"lw": 2 + 1.2 * under, "ms": 5 + 1.5 * under, "zorder": 9 - under}
                    if not ours:
                        style = {"lw": 1.2, "ls": "--"}
                    (line,) = axis.plot(x, y, marker="o", label=method, **style)
                    if ours:
                        axis.fill_between(x, *zip(*ci, strict=True), color=line.get_color(), alpha=0.12, lw=0)
            axis.set(title=metric.replace("_", " "), xlabel="rate (tokens kept)", ylim=(0, 1.02))
            axis.grid(alpha=0.3)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.suptitle(f"{name}: {entry['examples']} questions")
        figure.legend(handles, labels, loc="center right")
        out.append(write(figure, folder / f"{name}.png", rect=(0, 0, 0.86, 1)))
    return out


def wilson(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Between what a share seen in `count` cases may really lie (Wilson's score interval, 95 %)."""
    middle, half = share + z * z / (2 * count), z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    low, high = ((middle + sign * half) / (1 + z * z / count) for sign in (-1, 1))
    return max(0.0, low), min(1.0, high)


def reliability(bins: list[tuple[float, float, int]], path: Path, title: str) -> Path:
    """Share of evidence over predicted probability, areas by number of sentences; the diagonal is what is promised.

    Bars are 95 % intervals: of a few sentences' share little is known.
    """
    figure, axis = subplots(figsize=(4.6, 4.4))
    predicted, observed, count = zip(*bins, strict=True)
    axis.plot((0, 1), (0, 1), color="0.6", lw=1)
    axis.vlines(predicted, *zip(*(wilson(share, n) for _, share, n in bins), strict=True), lw=1.5)
    axis.scatter(predicted, observed, s=[12 + 3 * n**0.5 for n in count], zorder=3)
    axis.set(title=title, xlabel="predicted probability", ylabel="share that is evidence", xlim=(0, 1), ylim=(0, 1))
    axis.grid(alpha=0.3)
    return write(figure, path)


def joined(result: dict[str, Any], others: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One result of runs over different sets; raises ValueError where they were not measured alike."""
    sets = dict(result["sets"])
    for other in others:
        for key in ("rates", "documents", "facts"):
            if other[key] != result[key]:
                raise ValueError(f"not measured alike: {key} {other[key]} and {result[key]}")
        if twice := sets.keys() & other["sets"].keys():
            raise ValueError(f"measured twice: {', '.join(sorted(twice))}")
        sets |= other["sets"]
    return {**result, "sets": dict(sorted(sets.items()))}


def page(result: dict[str, Any], pictures: list[Path]) -> str:
    """The whole run as one Markdown page: how it was measured, a picture and a table per set, margins."""
    facts, rates = result["facts"], " / ".join(str(r) for r in result["rates"])
    lines = [
        "# Does the answer survive?\n",
        f"`laconic bench quality`, {facts['date']}: model {facts['model']} revision {facts['revision']} in "
        f"{facts['profile']}, rates {rates} of the tokens in the model's own count, at least {result['documents']} "
        f"documents per question; {facts['machine']}, {facts['versions']}.\n",
        "**Evidence recall**: share of the annotated evidence's characters that is kept. **Full support**: questions "
        "with at least 90 % of every piece of evidence kept. **Answer kept**: questions with an answer string in the "
        "kept text. ± is half of a 95 % bootstrap interval; the best of a column is bold. Where a set marks no "
        "evidence (PubMedQA), the labelled passages are taken for it whole: more than the smaller rates can hold.\n",
        table(result, {p.stem: p for p in pictures}),
        "## Beside the better of BM25 and MiniLM cosine\n",
        "Difference of `token.v1` on the same questions, with its 95 % bootstrap interval.\n",
        "| set | rate | metric | baseline | difference | interval |",
        "|---|---|---|---|---|---|",
    ]
    for name, entry in result["sets"].items():
        lines += [f"| {name} | " + " | ".join(str(v) for v in row) + " |" for row in entry["margins"]]
    return "\n".join([*lines, ""])


def margins(result: dict[str, Any]) -> list[str]:
    """Where ours does not beat the better plain baseline: one line each, empty when it does everywhere."""
    short = []
    for name, entry in result["sets"].items():
        for rate in map(str, result["rates"]):
            for metric in ("evidence_recall", "full_support"):
                has = {m: figures[rate][metric] for m, figures in entry["methods"].items()}
                rivals = {m: has[m] for m in ("bm25", "minilm-cosine") if m in has}
                ours = has.get("token.v1")
                if ours is None or not rivals:
                    continue
                best = max(rivals, key=lambda m: rivals[m])
                if ours < rivals[best] or ours == rivals[best] < 1:
                    short.append(f"{name} @{rate} {metric}: {ours:.3f}, {best} {rivals[best]:.3f}")
    return short
