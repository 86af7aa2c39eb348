"""What each part of `laconic bench` does; `__main__` parses. Each ends in one line of JSON."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from laconic.compressors import Compressor
from laconic.models import Card


def quality(args: argparse.Namespace) -> int:
    from laconic.service.cache import Lru, Tiers

    from .quality import KEPT, OURS, measure
    from .report import joined, margins, page, plots, table

    args.out.mkdir(parents=True, exist_ok=True)
    others = [json.loads(path.read_text()) for path in args.join]
    result = measure(
        args.data,
        Compressor(models_dir=args.models_dir, profile=args.profile, store=Tiers(Lru(KEPT))),
        work=args.out,
        rates=args.rates,
        count=args.count,
        documents=args.documents,
        only=args.sets,
        rivals=not args.only_ours,
        recipes=args.recipes or OURS,
    )
    (args.out / "figures.json").write_text(json.dumps(result, indent=1))
    if others:
        result = joined(result, others)
        (args.out / "figures.json").write_text(json.dumps(result, indent=1))
    text = table(result)
    (args.out / "table.md").write_text(text)
    print(text)
    pictures = plots(result, args.out)
    (args.out / "report.md").write_text(page(result, pictures))
    print(args.out / "report.md")
    if not args.only_ours:
        short = margins(result)
        print("\n".join(["token.v1 is not above the better baseline:", *short] if short else ["above both everywhere"]))
    print(json.dumps(result))
    return 0


def faithful(args: argparse.Namespace) -> int:
    from laconic.service.cache import Lru, Tiers

    from .faithful.measure import measure, table
    from .faithful.package import package
    from .quality import KEPT

    args.out.mkdir(parents=True, exist_ok=True)

    def keep(found: dict[str, Any]) -> None:
        (args.out / "figures.json").write_text(json.dumps(found, indent=1, ensure_ascii=False))
        (args.out / "table.md").write_text(table(found) + "\n")

    found = measure(
        args.data,
        Compressor(models_dir=args.models_dir, store=Tiers(Lru(KEPT))),
        count=args.count,
        documents=args.documents,
        only=args.sets,
        methods=args.methods,
        package=package(args.out) if args.package else None,
        keep=keep,
    )
    keep(found)
    print(table(found))
    print(json.dumps({name: {"cases": f["cases"]["kept"], **f["sets"]["faulty"]} for name, f in found.items()}))
    return 0


def calibrate(args: argparse.Namespace) -> int:
    from laconic.models.training.data import held_out

    from .calibrate import collect, report, write
    from .calibrate_relevance import collect as relevance
    from .calibrate_relevance import fit
    from .report import reliability

    args.out.mkdir(parents=True, exist_ok=True)
    compressor = Compressor(model=args.model, models_dir=args.models_dir)
    result = {}
    for recipe in args.recipes:
        sizes = {"count": args.count, "documents": args.documents}
        known = collect(args.data, compressor, recipe, **sizes, among=held_out)
        fresh = collect(args.check, compressor, recipe, **sizes) if args.check else []
        fewer = {**sizes, "count": max(2, args.count // 4)}
        elsewhere = collect(args.check, compressor, recipe, **fewer, elsewhere=True) if args.check else []
        result[recipe] = report(known, fresh, elsewhere)
        result[recipe] |= fit(relevance(args.data, compressor, recipe, among=held_out))
        reliability(result[recipe]["bins"], args.out / f"reliability-{recipe}.png", recipe)
        if args.write:
            write(args.write, recipe, result[recipe])
    (args.out / "figures.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result))
    return 0


def agnostic(args: argparse.Namespace) -> int:
    from laconic.models.training.data import held_out

    from .agnostic import OURS, answers, deletion

    args.out.mkdir(parents=True, exist_ok=True)
    compressor = Compressor(models_dir=args.models_dir)
    result = {
        "deletion": {
            recipe: deletion(args.train, args.data, compressor.pipeline(recipe).parts.scorer, held_out)
            for recipe in ("token.v1", "late.v1")
        },
        "answers": answers(
            args.data, compressor, args.out, rates=args.rates, count=args.count, recipes=args.recipes or OURS
        ),
    }
    (args.out / "figures.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result))
    return 0


def edu(args: argparse.Namespace) -> int:
    from laconic.compressors.edu import EduSegmenter

    from .discourse import compare

    compressor = Compressor(models_dir=args.models_dir, profile=args.profile)
    found = compressor.pipeline("edu.v1").parts
    if args.start is not None:
        assert isinstance(found.segmenter, EduSegmenter)
        found.segmenter.facts = replace(found.segmenter.facts, start=args.start)
    result = compare(args.data, found)
    if args.write:
        record = Card.read(args.write)
        assert record.edu is not None
        start = record.edu.start if args.start is None else args.start  # the figures are of this one
        edu = replace(record.edu, start=start, facts={**record.edu.facts, "measured": result})
        replace(record, edu=edu).write(args.write)
    print(json.dumps(result))
    return 0


def lm(args: argparse.Namespace) -> int:
    from laconic.models import Catalogue

    from .perplexity import measure

    folder = Catalogue(extra=args.models_dir).folder(args.model)
    own = folder / Card.read(folder).files["cpu-int8"][0]
    result = measure(folder, args.data, [own, *args.beside], args.tokens)
    if args.write:
        record = Card.read(args.write)
        replace(record, facts={**record.facts, "measured": result}).write(args.write)
    print(json.dumps(result))
    return 0


def soft(args: argparse.Namespace) -> int:
    from . import cramming
    from . import soft as reading

    args.out.mkdir(parents=True, exist_ok=True)
    compressor = Compressor(models_dir=args.models_dir)
    encoder = compressor.encoder()
    given = {"count": args.count, "passages": args.passages, "models": compressor.catalogue}
    result = {"measured": reading.measure(encoder, args.data, **given)}
    print(reading.plot(result["measured"], args.out / "laconic-soft.png"))
    if args.cram:
        result["cramming"] = cramming.measure(encoder, args.data, count=8, steps=args.cram, models=compressor.catalogue)
        print(cramming.plot(result["cramming"], args.out / "cramming.png"))
    if args.write:
        record = Card.read(args.write)
        replace(record, facts={**record.facts, **result}).write(args.write)
    (args.out / "soft.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result))
    return 0


def latents(args: argparse.Namespace) -> int:
    from .latents import measure, plot

    args.out.mkdir(parents=True, exist_ok=True)
    result = measure(args.data, args.rate, args.rounds, args.threads)
    print(plot(result, args.out / "latents.png"))
    (args.out / "latents.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result))
    return 0


def written(out: Path, result: dict[str, Any], text: str, name: str = "figures", page: str = "table") -> None:
    """The result and its table, as files in `out` and printed."""
    (out / f"{name}.json").write_text(json.dumps(result, indent=1))
    (out / f"{page}.md").write_text(f"{text}\n")
    print(text)
    print(json.dumps(result))


def needles(args: argparse.Namespace) -> int:
    from .needles import measure, table

    args.out.mkdir(parents=True, exist_ok=True)
    kinds = [*args.kinds, *["pairs"] * (args.data is not None and "pairs" not in args.kinds)]
    given = {k: getattr(args, k) for k in ("cases", "slow", "rate", "seed", "data")}
    result = measure(Compressor(), kinds, **given)
    written(args.out, result, table(result), "needles", "needles")
    return 0


def lossless(args: argparse.Namespace) -> int:
    from .lossless import measure, table

    args.out.mkdir(parents=True, exist_ok=True)
    reader = Compressor(readers_dir=args.readers_dir).reader(args.reader)
    result = measure(reader, args.files, args.longest, args.each, args.generated)
    written(args.out, result, table(result))
    return 0 if all(r["restored"] == r["documents"] for r in result["kinds"].values()) else 1


def content(args: argparse.Namespace) -> int:
    from .content import measure, table

    args.out.mkdir(parents=True, exist_ok=True)
    result = measure(Compressor(), args.files, args.count, args.longest)
    written(args.out, result, table(result))
    return 1 if result["faults"] else 0


def page(args: argparse.Namespace) -> int:
    from .page import filled

    args.page.write_text(filled(args.page.read_text(), Path.cwd(), Compressor()))
    print(args.page)
    return 0


def detection(args: argparse.Namespace) -> int:
    from .detection import measure, table

    result = measure(args.files, args.count, args.data, args.seed)
    print(table(result))
    print("\n".join(f"{kind} taken for {found}: {path}" for kind, found, path in result["wrong"]))
    print(json.dumps(result))
    return 0


def card(args: argparse.Namespace) -> int:
    from .card import page
    from .card_lm import page as page_lm
    from .card_soft import page as page_soft

    record = Card.read(args.folder)
    if record.kind in ("causal", "soft"):
        args.out.write_text((page_lm if record.kind == "causal" else page_soft)(record, args.out))
        print(args.out)
        return 0
    runs = [json.loads(path.read_text()) for path in args.quality]
    args.out.write_text(page(record, *(runs if len(runs) == 2 else (None, None))))
    print(args.out)
    return 0
