"""Programs cut by their syntax: what is kept parses again, and the function that is asked for stays."""

from __future__ import annotations

import ast
import random
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from laconic.bench.needles import module
from laconic.compressors import Budget, Compressor, Document, Request
from laconic.compressors.content import code
from laconic.compressors.content.laid import Laid
from laconic.compressors.content.languages import LANGUAGES, errors, language_of, looks_like_code, parse
from laconic.compressors.render import render

from .laid_checks import closed

PYTHON = (
    '''#!/usr/bin/env python
"""Carts and what is in them — with prices.

The long story of this module goes on for many lines, so that it is worth cutting, which takes four
hundred characters and more; nobody reads them all, but somebody wrote them, line after line, and they say
where the prices come from, who rounds them, why the currency is not stored beside them, and what happened
in the year when it was. That is all there is to say about it.
"""
from __future__ import annotations

import os, sys
from decimal import Decimal  # exact

LIMITS = {
'''
    + "".join(f'    "größe-{n}": ({n}, "{n * 7} kg"),  # row {n}\n' for n in range(30))
    + '''}
x = 1; y = 2


@register("cart")
@final
class Cart(Base):
    """A cart."""

    currency = "€"

    def __init__(self, owner):  # whose it is
        # first things first
        self.owner = owner
        self.lines = []; self.closed = False

    async def total(self, at=None) -> Decimal:
        """What it costs."""
        try:
            async with self.lock:
                found = [line.price for line in self.lines]
        except KeyError as e:
            raise Missing(e) from None
        except (ValueError, TypeError):
            found = []
        else:
            log("fine")
        finally:
            self.count += 1
        if not found:
            return Decimal(0)
        elif at is None: return sum(found)
        elif at > 3:
            return sum(found[:at])
        else:
            pass
        for f in found:
            while f > 3:
                f -= 1
            else:
                break
        match at:
            case 1:
                return 1
            case _:
                return helper(lambda q: q + 1,
                              key=2)


if __name__ == "__main__":
    sys.exit(os.EX_OK)
'''
)

SCRIPT = """import fs from 'fs';
const table = {
  plain: 1, // one
  read: function (a) {
    if (a) { return a; } else if (b) {
      return b;
    } else {
      return [1, 2, 3]
    }
  },
  later: async (x) => {
    try {
      await x();
    } catch (e) {
      console.log(`no ${e}`);
    } finally {
      done();
    }
  },
};
/**
 * A class.
 */
export class Door extends Wall {
  static open = false;
  knock(times) {
    switch (times) {
      case 1:
        return 'é';
      default:
        break;
    }
    do {
      times--;
    } while (times > 0);
    items.forEach(function (i) {
      use(i);
    }, () => {
      end();
    });
  }
}
"""
TYPED = (
    SCRIPT
    + """
export interface Shape<T> {
  name: string;
  area(scale?: number): T;
}
type Kind = 'a' | 'b';
enum Colour { Red,
  Green }
"""
)
JAVA = """package a.b;
import java.util.List;

public class Shop implements Runnable {
    @Override
    public void run() {
        for (int i = 0; i < 3; i++) {
            if (i == 1) {
                go(i);
            } else {
                stop();
            }
        }
        try (var in = open()) {
            in.read();
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }
    enum State { OPEN,
        CLOSED; }
}
"""
GO = """package main

import (
\t"fmt"
\t"os"
)

type Point struct {
\tX, Y int
\tName string
}

func (p *Point) Show(n int) error {
\tswitch n {
\tcase 1:
\t\tfmt.Println("one")
\tdefault:
\t\treturn nil
\t}
\tif err := p.run(); err != nil {
\t\treturn err
\t} else if n > 2 {
\t\tos.Exit(1)
\t}
\tfor i := range p.items {
\t\tuse(i)
\t}
\treturn nil
}
"""
RUST = """use std::fmt;

#[derive(Debug, Clone)]
pub struct Point {
    x: i32,
    y: i32,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.x {
            0 => write!(f, "zero"),
            n if n > 3 => {
                let y = n + 1;
                write!(f, "{}", y)
            }
            _ => Ok(()),
        }
    }
}
"""
C = """#ifndef SHOP_H
#define SHOP_H
#include <stdio.h>
/* Sizes. */
struct item {
    int size; /* in cm */
    char *name;
};
static int count(struct item *items, int n)
{
    int found = 0;
    for (int i = 0; i < n; i++) {
        if (items[i].size > 3) {
            found++;
        } else {
            continue;
        }
    }
    return found;
}
#ifdef DEBUG
void show(void);
#else
void hide(void);
#endif
#endif
"""
CPP = """#include <vector>
namespace shop {
template <typename T>
class Box : public Base<T> {
public:
    Box() : size_(0) {
        fill();
    }
    auto get() const -> T {
        try {
            return std::move(value_);
        } catch (const std::exception &e) {
            throw;
        }
    }
};
}  // namespace shop
"""
SHELL = """#!/bin/sh
set -e
build() {
  for f in a b; do
    echo "$f"
    cc "$f"
  done
  if [ -n "$x" ]; then
    exit 1
  fi
}
build "$@"
"""
SOURCES = {
    "python": PYTHON,
    "javascript": SCRIPT,
    "typescript": TYPED,
    "java": JAVA,
    "go": GO,
    "rust": RUST,
    "c": C,
    "cpp": CPP,
    "bash": SHELL,
}
NAMED = {x.name: x for x in LANGUAGES}


def sound(laid: Laid, text: str) -> None:
    units = laid.units
    assert units.starts[0] == 0 and units.ends[-1] == len(text)
    assert (units.starts[1:] == units.ends[:-1]).all()
    assert len(laid.views) == len(units) == len(laid.prior)
    everything = render(text, *laid.form(np.ones(len(units), bool)))
    assert everything == text.rstrip()


@pytest.mark.parametrize("name", SOURCES)
def test_every_language_is_told_by_its_text_alone(name: str) -> None:
    found = language_of(SOURCES[name])
    assert found is not None and found.name == name
    assert looks_like_code(SOURCES[name]) > 0.4


@pytest.mark.parametrize("marker", ["…", "", "left out\n*/"])
@pytest.mark.parametrize("name", SOURCES)
def test_what_is_kept_parses_again(name: str, marker: str) -> None:
    text, language = SOURCES[name], NAMED[name]
    assert errors(parse(language, text)) == 0
    laid = code.lay(text, marker)
    assert laid is not None
    sound(laid, text)
    draw = np.random.default_rng(3)
    for n in range(60):
        kept = closed(draw.random(len(laid.units)) < draw.random() ** 3, laid.units.heads)
        spans, marks = laid.form(kept)
        assert all(a.end <= b.start for a, b in pairwise(spans))
        out = render(text, spans, marks)
        assert errors(parse(language, out)) == 0, (n, out)
        if name == "python":
            ast.parse(out)
        assert marker or not marks


def test_a_body_whose_statements_are_gone_is_written_as_dots_with_its_indentation() -> None:
    text = "class A:\n    def f(self):\n        one()\n        two()\n\n    def g(self):\n        three()\n\n\nlast()\n"
    laid = code.lay(text, "…")
    assert laid is not None
    at = [n for n in range(len(laid.units)) if "def f" in text[laid.units.starts[n] : laid.units.ends[n]]]
    kept = closed(np.isin(np.arange(len(laid.units)), at), laid.units.heads)
    assert render(text, *laid.form(kept)) == "class A:\n    def f(self):\n        ...\n    # …"


def test_without_a_marker_a_signature_keeps_its_shortest_statement() -> None:
    text = "def f(self):\n    one(1, 2, 3)\n    if x:\n        y\n    two()\n\n\nlast(1)\n"
    laid = code.lay(text, "")
    assert laid is not None
    kept = closed(np.arange(len(laid.units)) == 0, laid.units.heads)
    out = render(text, *laid.form(kept))
    assert out == "def f(self):\n    two()"
    ast.parse(out)


def test_a_brace_language_says_what_is_gone_in_a_comment() -> None:
    laid = code.lay(C, "cut")
    assert laid is not None
    at = [n for n in range(len(laid.units)) if "return found" in C[laid.units.starts[n] : laid.units.ends[n]]]
    out = render(C, *laid.form(closed(np.isin(np.arange(len(laid.units)), at), laid.units.heads)))
    assert "    // cut\n    return found;\n}" in out
    assert out.startswith("#ifndef SHOP_H") and out.endswith("#endif")


def test_code_of_no_known_grammar_is_cut_by_its_indentation() -> None:
    text = (
        "program shop\n  begin foo(1)\n    x := 1;\n    y := call(x);\n  end\n  begin bar(2)\n    z := 3;\n  end\nend\n"
    )
    cut = code.indented(text)
    laid = cut.laid("code.v1", "…")
    assert laid is not None
    sound(laid, text)
    kept = closed(
        np.array(["z :=" in text[a:b] for a, b in zip(laid.units.starts, laid.units.ends, strict=True)]),
        laid.units.heads,
    )
    out = render(text, *laid.form(kept))
    assert out == "program shop\n  …\n  begin bar(2)\n    z := 3;\n  end\nend"


def test_prose_is_not_code() -> None:
    assert code.lay("Who signed the treaty? It rained. The treaty was signed by Ada.\n" * 20, "…") is None
    assert code.lay("", "…") is None


@st.composite
def broken(draw: st.DrawFn) -> str:
    """A program with pieces of itself moved, doubled or lost."""
    text = draw(st.sampled_from(list(SOURCES.values())))
    for _ in range(draw(st.integers(0, 4))):
        a, b = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        text = (
            text[:a] + draw(st.sampled_from(["", text[a:b], "{", '"', "\n", "\ud800", "\r\n", "'''", ")"])) + text[b:]
        )
    return text


@settings(max_examples=60)
@given(st.one_of(st.text(max_size=300), broken()), st.sampled_from(["…", ""]), st.integers(0, 99))
@example("if x:\n\ty\n\t\n", "…", 1)
def test_no_text_breaks_it_and_everything_kept_is_the_text(text: str, marker: str, seed: int) -> None:
    for laid in (code.lay(text, marker), code.indented(text).laid("code.v1", marker)):
        if laid is None:
            continue
        sound(laid, text)
        kept = closed(np.random.default_rng(seed).random(len(laid.units)) < 0.2, laid.units.heads)
        spans, marks = laid.form(kept)
        assert all(a.end <= b.start for a, b in pairwise(spans))
        assert all(0 <= m.at <= len(text) for m in marks)


@pytest.mark.parametrize(
    "text",
    [
        "{" * 100_000,
        "def f(\n" * 30_000,
        "a = [" * 20_000,
        "((((" * 20_000 + ";\n",
        "/* \n" * 9_000,
        PYTHON + "/* \n" * 9_000,
    ],
)
def test_nesting_without_end_takes_no_time(text: str) -> None:
    start = time.perf_counter()
    code.lay(text, "…")
    assert time.perf_counter() - start < 10


def test_the_function_that_is_asked_for_survives_at_a_tenth(compressor: Compressor) -> None:
    case = module(random.Random(5))
    lines = case.text.splitlines(keepends=True)
    text = "".join(lines[: len(lines) // 3])
    wanted = next(n for n, line in enumerate(lines) if case.answer in line)
    if case.answer not in text:
        text = "".join(lines[max(0, wanted - 300) : wanted + 20])
        text = text[text.index("\ndef ") :]
    request = Request(documents=[Document(text=text)], query=case.query, budget=Budget(kind="rate", value=0.1))
    out = compressor(request, recipe="code.v1")
    assert case.answer in out.text
    assert out.documents[0].kind == "code.v1"
    ast.parse(out.text)
    assert out.tokens_out <= 0.1 * out.tokens_in
