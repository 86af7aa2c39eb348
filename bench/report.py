"""From measured JSON to what people look at: Markdown tables and one plot per set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

METRICS = ("evidence_recall", "full_support", "answer_kept")


def table(result: dict[str, Any]) -> str:
    """One Markdown table per set: a row per method, a column per metric and rate; the best in bold."""
    out = []
    for name, entry in result["sets"].items():
        rates = [str(r) for r in result["rates"]]
        heads = [f"{m.replace('_', ' ')} @{r}" for m in METRICS for r in rates]
        out.append(f"### {name} ({entry['examples']} questions)\n")
        out.append("| method | " + " | ".join(heads) + " | true rate |")
        out.append("|---" * (len(heads) + 2) + "|")
        columns = {(m, r): [v[r][m] for v in entry["methods"].values()] for m in METRICS for r in rates}
        for method, figures in entry["methods"].items():
            cells = [cell(figures[r][m], columns[m, r]) for m in METRICS for r in rates]
            true = " / ".join(f"{figures[r]['rate']:.3f}" for r in rates)
            out.append(f"| {method} | " + " | ".join(cells) + f" | {true} |")
        out.append("")
    return "\n".join(out)


def cell(value: float | None, column: list[float | None]) -> str:
    if value is None:
        return "–"
    best = max(v for v in column if v is not None)
    return f"**{value:.3f}**" if value == best else f"{value:.3f}"


def plots(result: dict[str, Any], folder: Path) -> list[Path]:
    """`folder/SET.png`: each metric over the rate, a line per method."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    out = []
    for name, entry in result["sets"].items():
        figure, axes = plt.subplots(1, len(METRICS), figsize=(13, 4), sharex=True)
        for axis, metric in zip(axes, METRICS, strict=True):
            for method, figures in entry["methods"].items():
                points = [(float(r), f[metric]) for r, f in figures.items() if f[metric] is not None]
                if points:
                    ours = method.endswith(".v1") and method != "lexical.v1"
                    x, y = zip(*points, strict=True)
                    axis.plot(x, y, marker="o", label=method, lw=2.5 if ours else 1.2, ls="-" if ours else "--")
            axis.set(title=metric.replace("_", " "), xlabel="rate (tokens kept)", ylim=(0, 1.02))
            axis.grid(alpha=0.3)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.suptitle(f"{name}: {entry['examples']} questions")
        figure.legend(handles, labels, loc="center right")
        figure.tight_layout(rect=(0, 0, 0.88, 1))
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=90)
        plt.close(figure)
        out.append(path)
    return out


def margins(result: dict[str, Any]) -> list[str]:
    """Where ours does not beat the better plain baseline: one line each, empty when it does everywhere."""
    short = []
    for name, entry in result["sets"].items():
        for rate in map(str, result["rates"]):
            for metric in ("evidence_recall", "full_support"):
                ours = entry["methods"]["token.v1"][rate][metric]
                rivals = {
                    m: entry["methods"][m][rate][metric] for m in ("bm25", "minilm-cosine") if m in entry["methods"]
                }
                best = max(rivals, key=lambda m: rivals[m])
                if ours < rivals[best] or ours == rivals[best] < 1:
                    short.append(f"{name} @{rate} {metric}: {ours:.3f}, {best} {rivals[best]:.3f}")
    return short
