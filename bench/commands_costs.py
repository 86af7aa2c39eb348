"""What the parts of `laconic bench` do that measure costs and behaviour under load; each ends in one line of JSON."""

from __future__ import annotations

import argparse
import json

from laconic.compressors import Compressor


def peers(args: argparse.Namespace) -> int:
    args.out.mkdir(parents=True, exist_ok=True)
    if args.long:
        from .peers_causal import compare as compare_long

        result = compare_long(args.out, args.rounds)
    else:
        from .peers import compare

        result = compare(args.out, documents=args.documents, words=args.words, rounds=args.rounds)
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


def session(args: argparse.Namespace) -> int:
    from .session import questions, run

    given = questions(args.data, args.set, corpus=args.corpus, count=args.count, documents=args.documents)
    found = [run(given, lambda s: Compressor(store=s), args.redis_url, r, args.rate) for r in args.recipes]
    print(json.dumps(found))
    return 0


def capacity(args: argparse.Namespace) -> int:
    from laconic.models.cores import usable_cores

    from .capacity import compare, middle, summary
    from .entries import KEYS, measure
    from .plan import Demand, fleets, plot
    from .simulate import Machine

    args.out.mkdir(parents=True, exist_ok=True)
    rows = compare(args.rounds)
    costs, pair = middle(rows)
    found = summary(rows)
    result = {"summary": found, "costs": vars(costs), "pair": pair, "rounds": rows}
    machine = Machine(cores=usable_cores(), lanes=usable_cores(), pair=pair)
    segments = sum(r["segments"] for r in rows) / len(rows)
    tokens = sum(r["tokens"] for r in rows) / len(rows) / segments
    demand = Demand(per_second=args.per_second, segments=segments, tokens=tokens, hit=0.0)
    result["demand"] = vars(demand)
    if args.redis_url:
        result["entries"] = entries = measure(args.redis_url, args.entries)
        result["fleet"] = fleets(costs, machine, demand, entries["token.v1"], KEYS)
    print(plot(found, costs, machine, demand, args.out / "capacity.png"))
    (args.out / "capacity.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result))
    return 0 if all(abs(r["ratio"] - 1) <= args.within for r in found.values()) else 1


def soak(args: argparse.Namespace) -> int:
    from .soak import soak as run

    args.out.mkdir(parents=True, exist_ok=True)
    result = run(minutes=args.minutes, threads=args.threads, seed=args.seed, out=args.out)
    (args.out / "soak.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result))
    return 0 if result["passed"] else 1


def hostile(args: argparse.Namespace) -> int:
    from .hostile import measure, table

    args.out.mkdir(parents=True, exist_ok=True)
    result = measure(args.size, args.timeout_ms, args.texts, args.only, args.flags)
    (args.out / "hostile.json").write_text(json.dumps(result, indent=1))
    (args.out / "hostile.md").write_text(table(result) + "\n")
    print(table(result))
    print(json.dumps(result))
    return 0 if result["passed"] else 1


def growth(args: argparse.Namespace) -> int:
    from laconic.compressors import RECIPES, Budget

    from .growth import run, table

    kind, _, value = args.budget.partition("=")
    rows = run(args.recipes or list(RECIPES), args.sizes, Budget(kind=kind, value=float(value)), args.unit, args.only)
    steep = [r for r in rows if r.exponent > args.most]
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "growth.md").write_text(table(rows) + "\n")
    print(table(steep or rows[:5]))
    print(args.out / "growth.md")
    figures = [[r.recipe, r.shape, round(r.exponent, 2), round(max(r.seconds), 3), round(r.silence, 3)] for r in rows]
    print(
        json.dumps({"rows": len(rows), "steep": [[r.recipe, r.shape, r.exponent] for r in steep], "figures": figures})
    )
    return 1 if steep else 0
