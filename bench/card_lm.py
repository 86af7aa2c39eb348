"""The card of a language model as a page: what it was trained on, its curve, and how well it predicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from laconic.models import Card

from .plots import subplots, write


def page(card: Card, out: Path) -> str:
    """Markdown for the file `out`; the loss curve is drawn beside it."""
    facts, run = card.facts, card.facts["training"]
    picture = curve(card, out.with_name(f"{card.name}-curve.png"))
    licences = "; ".join(f"{name}: {licence}" for name, licence in facts["data"]["licences"].items())
    lines = [
        f"# {card.name}, revision {card.revision}\n",
        f"{card.summary}. Licence {card.licence}. Base: {facts['base']}. {facts['parameters']:,} parameters.\n",
        f"Limits: {facts['limits']}.\n",
        "## Training\n",
        f"{run['steps']} steps of {run['batch']} windows of {run['window']} tokens: {run['tokens_drawn']:,} tokens "
        f"drawn from {run['tokens']:,}, in {run['seconds'] / 60:.0f} minutes on {run['device']}; rate {run['rate']}, "
        f"seed {run['seed']}, {run['date']}. {licences}.\n",
        along(facts.get("along")),
        f"![Surprisal of articles left out of training, over steps]({picture.name})\n",
    ]
    if found := facts.get("measured"):
        lines += [
            "## Perplexity\n",
            f"{found['tokens']:,} tokens, {found['words']:,} words of Wikipedia articles never trained on, in windows "
            f"of {found['window']} tokens each read alone; one core, the files in turn.\n",
            "| file | per token | per word | megabytes | tokens/s |",
            "|---|---|---|---|---|",
        ]
        for name, f in found["files"].items():
            low, high = f["per_token_ci"]
            shown = f"{f['per_token']} [{low}, {high}] | {f['per_word']} | {f['bytes'] / 1e6:.1f}"
            lines.append(f"| {name} | {shown} | {f['tokens_per_second']:,} |")
        lines.append("")
    heads = ", ".join(f"layer {layer} head {head}" for layer, head in card.evaluators)
    areas = ", ".join(f"{name} {value}" for name, value in facts["evaluators"].items())
    lines += [
        "## Evaluator heads\n",
        f"{heads}. Area under the curve of evidence by attention, on questions left out of training: {areas}; chance "
        "is 0.5.\n",
        "## Files\n",
        "| file | sha256 |",
        "|---|---|",
        *(f"| {name} | `{mark}` |" for name, mark in sorted(card.sha256.items())),
    ]
    return "\n".join([*lines, ""])


def along(run: dict[str, Any] | None) -> str:
    """What it learned after that as the decoder of laconic-soft."""
    if run is None:
        return ""
    return (
        f"Then {run['steps']} steps of about {run['batch']} tokens along with laconic-soft's encoder, to say texts "
        f"again from their latents and to answer from them, a tenth of the steps reading plain text; {run['date']}. "
        "The curve is of the time before.\n"
    )


def curve(card: Card, path: Path) -> Path:
    """Nats per token of left-out articles over steps, as a picture."""
    steps, nats = zip(*card.facts["curve"], strict=True)
    figure, axis = subplots(figsize=(6, 3.6))
    axis.plot(steps, nats, marker="o")
    axis.set(title=f"{card.name} revision {card.revision}", xlabel="steps", ylabel="nats per token, left-out articles")
    axis.grid(alpha=0.3)
    return write(figure, path)
