"""The card of a soft compressor as a page: its training, what its decoder makes of latents, how far it could go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from laconic.models import Card

from . import plots

WAYS = {"latents": "latents", "latents kept as int8": "the same, kept as int8", "first tokens": "as many first tokens"}


def page(card: Card, out: Path) -> str:
    """Markdown for the file `out`; pictures are drawn beside it."""
    from . import cramming, soft

    facts, run, latent = card.facts, card.facts["training"], card.latent
    assert latent is not None
    lines = [
        f"# {card.name}, revision {card.revision}\n",
        f"{card.summary[0].upper()}{card.summary[1:]}. Licence {card.licence}. One latent for {said(latent.rates)} "
        f"tokens, of width {', '.join(f'{w} for {n}' for n, w in latent.decoders.items())}; segments of at most "
        f"{card.segment_tokens} tokens.\n",
        f"Limits: {facts['limits']}.\n" if "limits" in facts else "",
        "## Training\n",
        f"{run['steps']} steps of about {run['batch']} tokens on {run['device']}; rate {run['rate']}, "
        f"seed {run['seed']}, {run['date']}. Of the steps {shares(run['shares'])}. "
        f"Encoder: {run['layers'] or 'all'} layers. Decoder: {run['decoder']}. "
        f"{run.get('note', '')}\n",
        f"![Held-out tokens predicted, over steps]({curve(card, out.with_name(f'{card.name}-curve.png')).name})\n",
    ]
    if found := facts.get("measured"):
        picture = soft.plot(found, out.with_name(f"{card.name}.png"))
        lines += [
            "## Reading latents\n",
            f"SQuAD evaluation set: {found['passages']} passages said again (share of tokens that are the decoder's "
            f"first choice, those before given), {found['questions']} questions answered (F1, greedy). In brackets "
            "95 % bootstrap intervals.\n",
            *table(found),
            f"\n![Both over the rate]({picture.name})\n",
        ]
    if found := facts.get("cramming"):
        picture = cramming.plot(found, out.with_name(f"{card.name}-cramming.png"))
        lines += [
            "## What the decoder could read\n",
            f"Latents fitted to each of {found['texts']} texts of {found['tokens']} tokens by {found['steps']} steps "
            "of Adam, beside those of the encoder: the distance between the two is what a better encoder could win.\n",
            f"![Fitted and encoded latents]({picture.name})\n",
        ]
    lines += ["## Files\n", "| file | sha256 |", "|---|---|"]
    lines += [f"| {name} | `{mark}` |" for name, mark in sorted(card.sha256.items())]
    return "\n".join([*(line for line in lines if line), ""])


def said(rates: Any) -> str:
    *most, last = map(str, rates)
    return f"{', '.join(most)} or {last}" if most else last


def shares(given: Any) -> str:
    names = ("to say a text again", "to answer questions about it", "to read on without latents")
    return ", ".join(f"{value:.0%} {name}" for value, name in zip(given, names, strict=True))


def table(found: dict[str, Any]) -> list[str]:
    out = ["| stands for the text | tokens per position | said again | answers, F1 |", "|---|---|---|---|"]
    rows = [("all of it", "the whole text"), *WAYS.items()]
    for way, label in rows:
        for rate, again in found["again"][way].items():
            answer = found["answer_f1"][way][rate]
            shown = [f"{mean:.3f} [{low:.3f}, {high:.3f}]" for mean, low, high in (again, answer)]
            out.append(f"| {label} | {rate} | {' | '.join(shown)} |")
    return out


def curve(card: Card, path: Path) -> Path:
    """Share of held-out tokens predicted over steps, by rate."""
    points = card.facts["curve"]
    figure, axes = plots.subplots(ncols=2, figsize=(10, 3.6), sharex=True)
    for axis, task, title in ((axes[0], "again", "texts said again"), (axes[1], "answer", "answers")):
        for name in sorted((n for n in points[0][1] if n.startswith(task)), key=lambda n: int(n.split("@")[1])):
            rate = name.split("@")[1]
            label = "the text itself" if rate == "1" else f"{rate} tokens per latent"
            axis.plot([step for step, _ in points], [dev[name] for _, dev in points], marker=".", label=label)
        axis.set(title=title, xlabel="steps", ylabel="tokens predicted")
    return plots.save(figure, axes, path, fontsize=8)
