"""What the benches' pictures have in common: drawn without a screen, intervals as bars, one ending."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def subplots(**options: Any) -> tuple[Any, Any]:
    """A figure and its axis or axes, as matplotlib's `subplots` takes its options."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    made: tuple[Any, Any] = plt.subplots(**options)
    return made


def colours() -> list[Any]:
    """Twenty: dark ones, then their lighter pairs."""
    import matplotlib

    found: Any = matplotlib.colormaps["tab20"]
    return [*found.colors[::2], *found.colors[1::2]]


def means(axis: Any, found: dict[str, Sequence[float]], label: str) -> None:
    """A line over tokens per latent; `found` has a mean and its interval's two ends by rate."""
    mean, low, high = zip(*found.values(), strict=True)
    bars = [[m - a for m, a in zip(mean, low, strict=True)], [b - m for m, b in zip(mean, high, strict=True)]]
    axis.errorbar([int(r) for r in found], mean, bars, marker="o", label=label)


def rates(axis: Any, found: dict[str, Any]) -> None:
    """Tokens per latent along the axis, once its lines are drawn: a tick for each rate of `found`."""
    axis.set(xscale="log", xlabel="tokens per latent")
    axis.set_xticks([int(r) for r in found], list(found))
    axis.minorticks_off()


def save(figure: Any, axes: Sequence[Any], path: Path, **legend: Any) -> Path:
    """Grid and legend on each axis, then the file."""
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.legend(**legend)
    return write(figure, path)


def write(figure: Any, path: Path, **layout: Any) -> Path:
    """The file, as `tight_layout` takes its options."""
    import matplotlib.pyplot as plt

    figure.tight_layout(**layout)
    figure.savefig(path, dpi=90)
    plt.close(figure)
    return path
