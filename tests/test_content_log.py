"""Logs folded by template: what went wrong, what is rare and what the query names stays."""

from __future__ import annotations

import random
import re
import time
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from laconic.bench import needles
from laconic.compressors import Budget, Compressor, Document, Request
from laconic.compressors.content import log
from laconic.compressors.content.laid import Laid, narrowed
from laconic.compressors.render import render

LINES = """2026-11-21 10:00:00,001 INFO  http GET /api/items/1 200 in 12 ms
2026-11-21 10:00:00,030 INFO  http GET /api/items/2 200 in 9 ms
2026-11-21 10:00:01,100 WARN  pool "orders" is 91 % full
2026-11-21 10:00:01,200 INFO  http GET /api/items/77 404 in 3 ms
2026-11-21 10:00:02,000 ERROR task 5f0c9e2a-1111-4222-8333-444455556666 failed
Traceback (most recent call last):
  File "/srv/app/run.py", line 10, in go
    step(item)
ValueError: no such item: 77

2026-11-21 10:00:02,500 INFO  http GET /api/items/3 200 in 8 ms
2026-11-21 10:00:03,000 INFO  user alice logged in from 10.0.0.7
"""
SYSLOG = "".join(
    f"Nov 21 10:{n // 60 % 60:02d}:{n % 60:02d} host app[{n}]: {word} number {n} done\n"
    for n, word in enumerate(["job", "mail", "job", "job"] * 40)
)


def laid_out(text: str, marker: str = "…") -> Laid:
    laid = log.lay(text, marker)
    assert laid is not None
    return laid


def kept(laid: Laid, *numbers: int) -> np.ndarray:
    return np.isin(np.arange(len(laid.units)), numbers)


def sound(laid: Laid, text: str) -> None:
    units = laid.units
    assert units.starts[0] == 0 and units.ends[-1] == len(text)
    assert (units.starts[1:] == units.ends[:-1]).all()
    assert render(text, *laid.form(np.ones(len(units), bool))) == text.rstrip()


def test_lines_that_differ_in_numbers_paths_and_names_are_one_template() -> None:
    found = log.templates(LINES.splitlines())
    assert found[0] == found[1] == found[3] == found[10]
    assert len({int(found[n]) for n in (0, 2, 4, 11)}) == 4


def test_the_first_line_kept_of_a_template_says_how_many_it_stands_for() -> None:
    laid = laid_out(LINES)
    out = render(LINES, *laid.form(kept(laid, 1, 2)))
    assert out.splitlines() == [
        "2026-11-21 10:00:00,030 INFO  http GET /api/items/2 200 in 9 ms … ×4",
        '2026-11-21 10:00:01,100 WARN  pool "orders" is 91 % full',
    ]
    assert render(LINES, *laid_out(LINES, "").form(kept(laid, 1, 2))).endswith("full")


def test_a_stack_trace_belongs_to_its_record() -> None:
    laid = laid_out(LINES)
    heads = laid.units.heads
    assert heads is not None and heads.tolist() == [-1] * 5 + [4] * 4 + [-1] * 2
    assert laid.prior[4] >= log.ERROR


def test_repeats_are_read_only_where_the_query_names_something_in_them() -> None:
    lines = needles.log(random.Random(1)).text
    laid = laid_out(lines)
    assert len(narrowed(laid, None).view) < 0.02 * len(lines)
    name = re.findall(r"r-\w+", lines)[4000]
    read = narrowed(laid, f"What happened to request {name}?").view
    assert name in read and len(read) < 0.02 * len(lines)


def test_prose_and_code_are_no_logs() -> None:
    assert (
        log.lay("The treaty was signed.\nIt rained all day.\nAda stayed in.\nLunch was good.\nNobody came.\n", "…")
        is None
    )
    assert log.lay("import os\n\ndef f(x):\n    return x\n\nclass A:\n    pass\n\nprint(f(1))\n", "…") is None
    assert log.lay("", "…") is None


def test_ten_thousand_lines_are_laid_out_in_a_moment() -> None:
    text = needles.log(random.Random(2)).text
    start = time.perf_counter()
    sound(laid_out(text), text)
    assert time.perf_counter() - start < 5


def test_the_line_that_is_asked_for_survives_among_its_likes(compressor: Compressor) -> None:
    text = "\n".join(
        SYSLOG.splitlines() * 5 + ["Nov 21 11:59:59 host app[7]: job number r-7f3a done"] + SYSLOG.splitlines()
    )
    request = Request(
        documents=[Document(text=text)], query="What happened to r-7f3a?", budget=Budget(kind="rate", value=0.05)
    )
    out = compressor(request, recipe="log.v1")
    assert "job number r-7f3a done" in out.text
    assert out.documents[0].kind == "log.v1"
    assert out.tokens_out <= 0.05 * out.tokens_in
    assert " ×" in out.text


line = st.one_of(
    st.sampled_from([*LINES.splitlines(), *SYSLOG.splitlines()[:5], "", "   ", "\tat a.b.C(D.java:3)", "\r", "\x00"]),
    st.text(max_size=60),
)


@settings(max_examples=80)
@given(st.one_of(st.text(), st.lists(line, max_size=40).map("\n".join)), st.sampled_from(["…", "", "a\nb"]), st.data())
def test_no_text_breaks_it_and_everything_kept_is_the_text(text: str, marker: str, data: st.DataObject) -> None:
    laid = log.lay(text, marker)
    if laid is None:
        return
    sound(laid, text)
    some = kept(laid, *data.draw(st.lists(st.integers(0, len(laid.units) - 1), max_size=10)))
    spans, marks = laid.form(some)
    assert all(a.end <= b.start for a, b in pairwise(spans))
    bare = render(text, spans)
    assert "".join(text[a:b] for a, b in spans) == bare
    assert all("\n" not in m.text for m in marks)


def test_lines_without_end_take_no_time() -> None:
    start = time.perf_counter()
    for text in ("x" * 1_000_000, "a.b-" * 200_000, "'" * 300_000, "/" * 500_000, "\n \n" * 100_000, "1 " * 300_000):
        log.lay("2026-11-21 10:00:00 " + text + "\n2026-11-21 10:00:00 a\n" * 4, "…")
    assert time.perf_counter() - start < 10
