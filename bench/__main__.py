"""`laconic bench quality --data DIR`, `peers`, `budgets`, `latency`, `cache`: tables, plots, a last line of JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from laconic.compressors import Compressor
from laconic.models import Card


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="laconic bench", description=__doc__)
    sub = parser.add_subparsers(dest="what", required=True)
    q = sub.add_parser("quality", help="evidence and answers kept, beside baselines")
    q.add_argument("--data", type=Path, required=True, help="folder of NAME.passages/queries.jsonl.xz")
    q.add_argument("--out", type=Path, default=Path("build/quality"), help="report.md, tables, plots, figures.json")
    q.add_argument("--rates", type=float, nargs="+", default=[0.1, 0.25, 0.5])
    q.add_argument("--count", type=int, default=100, help="questions per set")
    q.add_argument("--documents", type=int, default=10, help="least documents per question")
    q.add_argument("--sets", nargs="*", default=[], help="only these sets")
    q.add_argument("--models-dir", type=Path, default=None)
    q.add_argument("--profile", default="cpu-int8")
    q.add_argument("--recipes", nargs="+", default=[], help="only these recipes")
    q.add_argument("--only-ours", action="store_true", help="without the baselines")
    p = sub.add_parser("peers", help="throughput beside the llmlingua package on the same weights")
    p.add_argument("--out", type=Path, default=Path("build/peers"))
    p.add_argument("--documents", type=int, default=64)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--long", action="store_true", help="LongLLMLingua instead of LLMLingua-2")
    y = sub.add_parser("parity", help="legacy mode beside the llmlingua package: equal strings over random settings")
    y.add_argument("--cases", type=int, default=500)
    y.add_argument("--seed", type=int, default=1)
    b = sub.add_parser("budgets", help="are budgets met, and used, over random requests")
    b.add_argument("--requests", type=int, default=1000)
    b.add_argument("--readers-dir", type=Path, default=None, help="count in every reader of this folder too")
    t = sub.add_parser("latency", help="a service alone, saturated, and overloaded with open-loop arrivals")
    t.add_argument("--url", default=None, help="a running service; default: one is started")
    t.add_argument("--seconds", type=float, default=60, help="of overload")
    t.add_argument("--overload", type=float, default=2.0, help="arrivals as a multiple of what it can do")
    t.add_argument("--timeout-ms", type=int, default=3000, help="deadline of every request")
    t.add_argument("--out", type=Path, default=Path("build/latency"))
    c = sub.add_parser("cache", help="what the cache is worth: identical bytes, time, reuse after edits, memory")
    c.add_argument("--cases", type=int, default=10_000, help="random requests compared with the cache off")
    c.add_argument("--rounds", type=int, default=20, help="timed requests of each kind")
    c.add_argument("--inserts", type=int, default=1_000_000, help="into the first tier, to see what it holds")
    c.add_argument("--redis-url", default=None, help="a Redis to time the second tier with")
    a = sub.add_parser("calibrate", help="what scores mean: probabilities, and thresholds for a wanted recall")
    a.add_argument(
        "--data", type=Path, required=True, help="folder of training sets: only groups never trained on are read"
    )
    a.add_argument("--check", type=Path, default=None, help="folder of evaluation sets to measure the result on")
    a.add_argument("--recipes", nargs="+", default=["token.v1", "late.v1"])
    a.add_argument("--count", type=int, default=60, help="questions per set")
    a.add_argument("--documents", type=int, default=10, help="least documents per question")
    a.add_argument("--model", default="laconic-mini")
    a.add_argument("--models-dir", type=Path, default=None)
    a.add_argument("--out", type=Path, default=Path("build/calibration"), help="figures.json and the diagrams")
    a.add_argument("--write", type=Path, default=None, help="model folder whose card gets the result")
    g = sub.add_parser("agnostic", help="without a question: sentence compression, answers to all questions kept")
    g.add_argument("--data", type=Path, required=True, help="folder of evaluation sets")
    g.add_argument(
        "--train", type=Path, required=True, help="folder of training sets, for a threshold; groups left out"
    )
    g.add_argument("--rates", type=float, nargs="+", default=[0.33, 0.5])
    g.add_argument("--count", type=int, default=300, help="passages, each with all its questions")
    g.add_argument("--out", type=Path, default=Path("build/agnostic"))
    g.add_argument("--recipes", nargs="+", default=[], help="only these recipes")
    g.add_argument("--models-dir", type=Path, default=None)
    e = sub.add_parser("edu", help="discourse units beside annotated ones")
    e.add_argument("--data", type=Path, required=True, help="folder of edu-*.jsonl.xz")
    e.add_argument("--profile", default="cpu-int8")
    e.add_argument("--models-dir", type=Path, default=None)
    e.add_argument("--write", type=Path, default=None, help="model folder whose card gets the result")
    m = sub.add_parser("lm", help="perplexity, size and speed of the embedded language model")
    m.add_argument("--data", type=Path, required=True, help="folder of wikipedia.jsonl.xz")
    m.add_argument("--model", default="laconic-lm")
    m.add_argument("--models-dir", type=Path, default=None)
    m.add_argument("--beside", type=Path, nargs="*", default=[], help="other graphs of the same model, as in fp32")
    m.add_argument("--tokens", type=int, default=100_000)
    m.add_argument("--write", type=Path, default=None, help="model folder whose card gets the result")
    d = sub.add_parser("card", help="a model's card as a page")
    d.add_argument("folder", type=Path, help="model folder")
    d.add_argument("--out", type=Path, required=True, help="file to write")
    d.add_argument("--quality", type=Path, nargs="*", default=[], help="figures.json in int8, and the same in fp32")
    args = parser.parse_args(argv)
    run = {"quality": quality, "peers": peers, "parity": parity, "budgets": budgets, "latency": latency}
    run |= {"cache": cache, "calibrate": calibrate, "agnostic": agnostic, "edu": edu, "lm": lm, "card": card}
    return run[args.what](args)


def quality(args: argparse.Namespace) -> int:
    from laconic.service.cache import Lru, Tiers

    from .quality import KEPT, OURS, measure
    from .report import margins, page, plots, table

    args.out.mkdir(parents=True, exist_ok=True)
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
    text = table(result)
    (args.out / "table.md").write_text(text)
    (args.out / "figures.json").write_text(json.dumps(result, indent=1))
    print(text)
    pictures = plots(result, args.out)
    (args.out / "report.md").write_text(page(result, pictures))
    print(args.out / "report.md")
    if not args.only_ours:
        short = margins(result)
        print("\n".join(["token.v1 is not above the better baseline:", *short] if short else ["above both everywhere"]))
    print(json.dumps(result))
    return 0


def peers(args: argparse.Namespace) -> int:
    args.out.mkdir(parents=True, exist_ok=True)
    if args.long:
        from .peers_causal import compare as compare_long

        result = compare_long(args.out, args.rounds)
    else:
        from .peers import compare

        result = compare(args.out, documents=args.documents, rounds=args.rounds)
    print(json.dumps(result))
    return 0


def parity(args: argparse.Namespace) -> int:
    from .parity import compare_llmlingua2
    from .parity_causal import compare_llmlingua1

    result = {
        "llmlingua2": compare_llmlingua2(args.cases, args.seed),
        "llmlingua": compare_llmlingua1(args.cases, args.seed),
    }
    print(json.dumps(result))
    return 0


def budgets(args: argparse.Namespace) -> int:
    from .budgets import check

    result = check(Compressor(readers_dir=args.readers_dir), args.requests, args.readers_dir)
    print(json.dumps(result))
    return 0 if all(r["met"] == r["requests"] for r in result["readers"].values()) else 1


def latency(args: argparse.Namespace) -> int:
    import asyncio
    from contextlib import nullcontext

    from .load import load, service

    args.out.mkdir(parents=True, exist_ok=True)
    with nullcontext(args.url) if args.url else service() as address:
        result = asyncio.run(
            load(address, seconds=args.seconds, overload=args.overload, timeout_ms=args.timeout_ms, out=args.out)
        )
    print(json.dumps(result))
    return 0


def calibrate(args: argparse.Namespace) -> int:
    from laconic.models.training.data import held_out

    from .calibrate import collect, report, write
    from .report import reliability

    args.out.mkdir(parents=True, exist_ok=True)
    compressor = Compressor(model=args.model, models_dir=args.models_dir)
    result = {}
    for recipe in args.recipes:
        sizes = {"count": args.count, "documents": args.documents}
        known = collect(args.data, compressor, recipe, **sizes, among=held_out)
        fresh = collect(args.check, compressor, recipe, **sizes) if args.check else []
        result[recipe] = report(known, fresh)
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
    from .discourse import compare

    compressor = Compressor(models_dir=args.models_dir, profile=args.profile)
    result = compare(args.data, compressor.pipeline("edu.v1").parts)
    if args.write:
        record = Card.read(args.write)
        assert record.edu is not None
        edu = replace(record.edu, facts={**record.edu.facts, "measured": result})
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


def card(args: argparse.Namespace) -> int:
    from .card import page
    from .card_lm import page as page_lm

    record = Card.read(args.folder)
    if record.kind == "causal":
        args.out.write_text(page_lm(record, args.out))
        print(args.out)
        return 0
    runs = [json.loads(path.read_text()) for path in args.quality]
    args.out.write_text(page(record, *(runs if len(runs) == 2 else (None, None))))
    print(args.out)
    return 0


def cache(args: argparse.Namespace) -> int:
    from laconic.service.cache import Lru, Tiers

    from .cache import L1, held, identical, reuse, speed

    bare = Compressor()
    cached = Compressor(store=Tiers(Lru(L1)))
    result = {
        "speed": speed(lambda store: Compressor(store=store), args.redis_url, args.rounds),
        "reuse": reuse(bare),
        "memory": held(args.inserts, 64 * 1024 * 1024),
        "identical": {r: identical(bare, cached, args.cases // 2, r) for r in ("token.v1", "late.v1")},
    }
    print(json.dumps(result))
    return 0 if not any(r["different"] or r["forwards_after_the_first"] for r in result["identical"].values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
