"""`laconic bench WHAT`: tables, plots, a last line of JSON; `laconic bench --help` lists what there is."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from laconic.models.question_sets import SetError

from . import commands, commands_costs
from .corpus import WORDS

Subs = Any  # what argparse's add_subparsers gives


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="laconic bench", description=__doc__)
    sub = parser.add_subparsers(dest="what", required=True)
    for add in (kept, costs, learned, shaped):
        add(sub)
    args = parser.parse_args(argv)
    room = commands_costs if hasattr(commands_costs, args.what) else commands
    run: Callable[[argparse.Namespace], int] = getattr(room, args.what)
    try:
        return run(args)
    except SetError as e:
        raise SystemExit(f"laconic: {e}") from None


def kept(sub: Subs) -> None:
    """What is kept, and what scores mean."""
    q = sub.add_parser("quality", help="evidence and answers kept, beside baselines")
    q.add_argument(
        "--data", type=Path, required=True, help="folder of NAME.passages and NAME.queries, .jsonl or .jsonl.xz"
    )
    q.add_argument("--out", type=Path, default=Path("build/quality"), help="report.md, tables, plots, figures.json")
    q.add_argument("--rates", type=float, nargs="+", default=[0.1, 0.25, 0.5])
    q.add_argument("--count", type=int, default=100, help="questions per set")
    q.add_argument("--documents", type=int, default=10, help="least documents per question")
    q.add_argument("--sets", nargs="*", default=[], help="only these sets")
    q.add_argument("--models-dir", type=Path, default=None)
    q.add_argument("--profile", default="cpu-int8")
    q.add_argument("--recipes", nargs="+", default=[], help="only these recipes")
    q.add_argument("--only-ours", action="store_true", help="without the baselines")
    q.add_argument(
        "--join", type=Path, nargs="+", default=[], help="figures.json of runs on other sets, for one report"
    )
    f = sub.add_parser("faithful", help="is what is kept whole, and does it say nothing that the source does not")
    f.add_argument("--data", type=Path, default=None, help="folder of evaluation sets; default: the made cases alone")
    f.add_argument("--out", type=Path, default=Path("build/faithful"), help="table.md, figures.json")
    f.add_argument("--count", type=int, default=60, help="questions per set")
    f.add_argument("--documents", type=int, default=20, help="least documents per question")
    f.add_argument("--sets", nargs="*", default=[], help="only these sets")
    f.add_argument("--methods", nargs="*", default=[], help="only these, as in the table's first column")
    f.add_argument("--package", action="store_true", help="beside the llmlingua package (needs it, torch and the rest)")
    f.add_argument("--models-dir", type=Path, default=None)
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
    e.add_argument(
        "--start", type=float, help="the logit above which a token begins a unit, in the place of the card's"
    )
    e.add_argument("--profile", default="cpu-int8")
    e.add_argument("--models-dir", type=Path, default=None)
    e.add_argument("--write", type=Path, default=None, help="model folder whose card gets the result")
    d = sub.add_parser("card", help="a model's card as a page")
    d.add_argument("folder", type=Path, help="model folder")
    d.add_argument("--out", type=Path, required=True, help="file to write")
    d.add_argument("--quality", type=Path, nargs="*", default=[], help="figures.json in int8, and the same in fp32")


def costs(sub: Subs) -> None:
    """What it costs, alone, beside others, in numbers."""
    p = sub.add_parser("peers", help="throughput beside the llmlingua package on the same weights")
    p.add_argument("--out", type=Path, default=Path("build/peers"))
    p.add_argument("--documents", type=int, default=64)
    p.add_argument("--words", type=int, default=WORDS, help="of a document; passages of retrieval have some 100")
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
    n = sub.add_parser("session", help="questions over one corpus, overlapping retrievals, two replicas, one Redis")
    n.add_argument("--data", type=Path, required=True, help="folder of evaluation sets")
    n.add_argument("--set", default="squad", help="the set that is the corpus")
    n.add_argument("--redis-url", required=True)
    n.add_argument("--corpus", type=int, default=500, help="documents")
    n.add_argument("--count", type=int, default=20, help="questions")
    n.add_argument("--documents", type=int, default=20, help="retrieved for each")
    n.add_argument("--rate", type=float, default=0.25)
    n.add_argument("--recipes", nargs="+", default=["token.v1", "late.v1"])
    k = sub.add_parser("capacity", help="what single requests cost, a simulation of many, and a saturated service")
    k.add_argument("--rounds", type=int, default=3)
    k.add_argument("--redis-url", default=None, help="an empty Redis, to measure what entries and reads cost")
    k.add_argument("--entries", type=int, default=200, help="requests of five passages that fill it")
    k.add_argument("--per-second", type=float, default=1e5, help="requests that the plotted fleet serves")
    k.add_argument("--within", type=float, default=0.2, help="share by which a prediction may be off")
    k.add_argument("--out", type=Path, default=Path("build/capacity"))
    g = sub.add_parser("growth", help="how host work grows with a request: recipes over hostile shapes, no model")
    g.add_argument("--recipes", nargs="*", default=[], help="only these; default: all")
    g.add_argument("--sizes", type=int, nargs="+", default=[25_000, 100_000, 400_000], help="characters, rising")
    g.add_argument("--only", default="", help="shapes with this in their names")
    g.add_argument("--budget", default="rate=0.3", help="KIND=VALUE")
    g.add_argument("--unit", default=None)
    g.add_argument("--most", type=float, default=1.2, help="exponent above which it fails")
    g.add_argument("--out", type=Path, default=Path("build/growth"), help="growth.md")
    s = sub.add_parser("soak", help="random requests over every route for minutes: no 5xx by accident, nothing grows")
    s.add_argument("--minutes", type=float, default=15)
    s.add_argument("--threads", type=int, default=6, help="clients side by side")
    s.add_argument("--seed", type=int, default=1)
    s.add_argument("--out", type=Path, default=Path("build/soak"), help="soak.json and the plot")
    h = sub.add_parser("hostile", help="bodies meant to stall a service, and who has to wait for them")
    h.add_argument("--size", type=int, default=2_000_000, help="bytes of a body")
    h.add_argument("--timeout-ms", type=int, default=2000)
    h.add_argument(
        "--texts", action="store_true", help="the shapes of `laconic bench growth` too: ten minutes and more"
    )
    h.add_argument("--only", nargs="*", default=[], help="only these shapes")
    h.add_argument("--flags", nargs="*", default=[], help="further flags of the service, such as --workers=1")
    h.add_argument("--out", type=Path, default=Path("build/hostile"), help="hostile.md, hostile.json")


def learned(sub: Subs) -> None:
    """What language models and soft compressors have learned."""
    m = sub.add_parser("lm", help="perplexity, size and speed of the embedded language model")
    m.add_argument("--data", type=Path, required=True, help="folder of wikipedia.jsonl.xz")
    m.add_argument("--model", default="laconic-lm")
    m.add_argument("--models-dir", type=Path, default=None)
    m.add_argument("--beside", type=Path, nargs="*", default=[], help="other graphs of the same model, as in fp32")
    m.add_argument("--tokens", type=int, default=100_000)
    m.add_argument("--write", type=Path, default=None, help="model folder whose card gets the result")
    s = sub.add_parser("soft", help="what a decoder says again and answers from latents, beside the text's beginning")
    s.add_argument("--data", type=Path, required=True, help="folder of squad.passages and squad.queries")
    s.add_argument("--count", type=int, default=200, help="questions")
    s.add_argument("--passages", type=int, default=100)
    s.add_argument("--cram", type=int, default=0, help="steps of fitting latents to a text each, for the upper bound")
    s.add_argument("--write", type=Path, default=None, help="model folder whose card gets the result")
    z = sub.add_parser("latents", help="seconds from text to latents, and to a decoder's first token")
    z.add_argument("--data", type=Path, required=True, help="folder of wikipedia.jsonl.xz")
    z.add_argument("--rate", type=int, default=4)
    z.add_argument("--rounds", type=int, default=3)
    z.add_argument("--threads", type=int, default=2, help="of the decoder")
    for timed in (s, z):
        timed.add_argument("--out", type=Path, default=Path("build/soft"), help="figures and plots")
    s.add_argument("--models-dir", type=Path, default=None)


def shaped(sub: Subs) -> None:
    """Content with structure, and what loses nothing."""
    n = sub.add_parser("needles", help="one entry that a query asks for in a long module, log, array or page")
    n.add_argument("--kinds", nargs="+", default=["modules", "logs", "arrays", "pages"], help="of these, and pairs")
    n.add_argument("--cases", type=int, default=100)
    n.add_argument("--slow", type=int, default=10, help="cases that token.v1 reads too")
    n.add_argument("--rate", type=float, default=0.1)
    n.add_argument("--seed", type=int, default=1)
    n.add_argument("--data", type=Path, default=None, help="folder of kv-retrieval.*.jsonl.xz, for the kind pairs")
    n.add_argument("--out", type=Path, default=Path("build/needles"), help="needles.json and needles.md")
    o = sub.add_parser("lossless", help="are texts restored to the letter, and what does a dictionary save?")
    o.add_argument("files", type=Path, nargs="*", help="files, and folders of them")
    o.add_argument("--longest", type=int, default=20_000, help="characters of a document")
    o.add_argument("--each", type=int, default=4000, help="documents of a kind at most")
    o.add_argument("--generated", type=int, default=500, help="logs, and JSON texts, that are made")
    o.add_argument("--reader", default=None)
    o.add_argument("--readers-dir", type=Path, default=None)
    o.add_argument("--out", type=Path, default=Path("build/lossless"), help="figures.json and table.md")
    r = sub.add_parser("content", help="auto.v1 over real files: what is kept parses, budgets are met, nothing breaks")
    r.add_argument("files", type=Path, nargs="+", help="folders of files")
    r.add_argument("--count", type=int, default=200, help="files of a kind")
    r.add_argument("--longest", type=int, default=100_000, help="characters of a file at most")
    r.add_argument("--out", type=Path, default=Path("build/content"), help="figures.json and table.md")
    w = sub.add_parser("page", help="the examples of a page of the documentation, filled in again")
    w.add_argument("page", type=Path)
    k = sub.add_parser("detection", help="is each file's text seen for what it is, without its name")
    k.add_argument("--files", type=Path, nargs="+", required=True, help="folders of files, their kinds by suffix")
    k.add_argument("--data", type=Path, default=None, help="folder of passages, for prose")
    k.add_argument("--count", type=int, default=300, help="files of each kind")
    k.add_argument("--seed", type=int, default=1, help="another draw of files")


if __name__ == "__main__":
    raise SystemExit(main())
