"""Iterative token-level compression (LLMLingua, EMNLP 2023, §4.2), contrastive given a question (LongLLMLingua, ACL
2024, §4.1): window after window, each read behind what is left of those before it.

`as_released` computes what `llmlingua` 0.2.2 does with a working cache; `as_published` what the papers say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from .budget import Part
from .reading import SINKS, Reading

Window = list[tuple[int, float]]  # runs of tokens in a row: how many, and the share of them to keep


@dataclass(frozen=True, kw_only=True)
class Task:
    """Token ids, of which the first `start` are a condition that stays; `compare` with losses without it.

    `breaks` marks the tokens that end lines where runs of these are to stay.
    """

    ids: np.ndarray
    start: int
    size: int
    compare: bool
    breaks: np.ndarray | None = None


def windows_by_rank(lengths: Sequence[int], target: float, size: int, dynamic: Sequence[float]) -> list[Window]:
    """The package's, over documents of so many tokens: the share that the target is, more for those ranked higher.

    Lengths are of each document alone, two more for a separator, and a first token is not counted: windows may end a
    little beside documents and beside `size`.
    """
    lengths = [n + 2 for n in lengths]
    share = target / (sum(lengths) + 1)
    out: list[Window] = []
    window: Window = []
    at = 1
    for n, more in zip(lengths, dynamic, strict=True):
        ratio = max(min(1, share + more), 0)
        at += n
        if at < size:
            window.append((n, ratio))
            continue
        out.append([*window, (size - (at - n), ratio)])
        at -= size
        if at > size:
            out += [[(size, ratio)]] * (at // size)
            at %= size
        window = [(at, ratio)] if at else []
    return [*out, window] if window else out


def windows_of(shares: Sequence[float], size: int) -> list[Window]:
    """Windows of `size` tokens, each token with its own share."""
    return [
        [(len(list(run)), share) for share, run in groupby(shares[i : i + size])] for i in range(0, len(shares), size)
    ]


def shares_by_part(characters: Sequence[int], parts: Sequence[Part]) -> list[float]:
    """The share of each token to keep, by how many characters each adds and what parts these are in.

    A token in several parts has the smallest share of theirs, or stays if one of them does.
    """
    out: list[float] = []
    n, seen, last = 0, 0, parts[-1]
    for added in characters:
        over = []
        while added and n < len(parts) and added >= parts[n].length - seen:
            over.append(parts[n])
            added -= parts[n].length - seen
            n, seen = n + 1, 0
        if added or not over:
            over.append(parts[n] if n < len(parts) else last)
        out.append(min(p.rate for p in over) if all(p.compress for p in over) else 1.0)
        seen += added
    return out


def as_released(task: Task, windows: Sequence[Window], reading: Reading) -> np.ndarray:
    """The ids that stay, as the package picks them.

    A token stays if the one after it is surprising; the threshold is one of all losses known, of tokens long decided
    and of those to come; a text shorter than a window, and what is left behind the last whole one, hardly change.
    Beyond the model's positions, where the package pops keys and values, windows are read as `Reading` does.
    """
    ids, start, size = task.ids, task.start, task.size
    breaks, keep = task.breaks, None if task.breaks is None else runs(task.breaks)
    loss = alone = np.zeros(0, np.float32)
    end, done = min(size + start, len(ids)), 0
    for n, window in enumerate(windows):
        if end > len(ids):
            break
        stop = end if n else min(len(ids), reading.positions)  # at first all that can be read
        fresh = reading.surprisal(ids[:stop].tolist(), done + 1, SINKS + start)
        if not len(fresh):
            break
        loss = patched(loss, fresh, done)
        if task.compare:
            stop = end - start if n else min(len(ids) - start, reading.positions)
            since = max(0, done - start)
            alone = patched(alone, reading.surprisal(ids[start : start + stop].tolist(), since + 1), since)
        done = end - size if n or not start else 0
        for count, share in window:
            begin, end = end - size, end - size + count
            need, loss, alone = released(loss, alone, begin, end, share, start if task.compare else None)
            need = filled(need, len(ids))
            if breaks is not None and keep is not None:
                unbroken(need, breaks, keep, begin, end)
                breaks, keep = breaks[need], keep[need]
            ids = ids[need]
            end += size - int((~need[:end]).sum())
    return ids[start:]


def released(
    loss: np.ndarray, alone: np.ndarray, begin: int, end: int, share: float, start: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which tokens stay of those from `begin` to `end`, counted from the last where negative, and the losses left.

    `start` is where the losses `alone` begin, None where there are none.
    """
    if start is None:
        need = above(loss, share)
    else:
        gain = alone[: max(0, len(loss) - start)] - loss[start:]
        need = np.concatenate([loss[:start] > 0, above(gain, share)])
    need = np.append(need, loss[:1] > 0)
    need[end:] = True
    need[:begin] = True
    loss = loss[need[:-1]]
    if start is not None:
        need = filled(need, max(len(need), len(alone) + start + 1))
        alone = alone[need[start:-1][: len(alone)]]
    return need, loss, alone


def above(scores: np.ndarray, share: float) -> np.ndarray:
    """Those over the smallest of their `share` highest, all where the share is 1."""
    if share == 1.0 or not len(scores):
        return np.ones(len(scores), bool)
    at = max(0, min(len(scores) - 1, int(len(scores) * share) - 1))
    found: np.ndarray = scores > np.sort(scores)[::-1][at]
    return found


def patched(known: np.ndarray, fresh: np.ndarray, at: int) -> np.ndarray:
    """`fresh` over `known` from `at` on."""
    out = np.zeros(max(len(known), at + len(fresh)), np.float32)
    out[: len(known)] = known
    out[at : at + len(fresh)] = fresh
    return out


def filled(need: np.ndarray, length: int) -> np.ndarray:
    """What no loss decides stays."""
    return np.append(need, np.ones(max(0, length - len(need)), bool))[:length]


def runs(breaks: np.ndarray) -> np.ndarray:
    """Line breaks beside another."""
    beside = np.zeros(len(breaks), bool)
    beside[1:] |= breaks[:-1]
    beside[:-1] |= breaks[1:]
    return breaks & beside


def unbroken(need: np.ndarray, breaks: np.ndarray, keep: np.ndarray, begin: int, end: int) -> None:
    """Runs of line breaks stay; where others come to stand side by side, one does."""
    need[keep] = True
    last = False
    for i in range(max(0, begin), min(end, len(need))):
        if need[i] and breaks[i] and last and not keep[i]:
            need[i] = False
        elif need[i]:
            last = bool(breaks[i])


def as_published(task: Task, shares: Sequence[float], lead: Sequence[int], reading: Reading) -> np.ndarray:
    """Which tokens stay after `start`: of each window's run with one share, that share, the most surprising.

    `lead` is what the model expects before any text. Without it, a first token is one nothing is known of: it stays.
    """
    ids, start = task.ids, task.start
    need = np.ones(len(ids), bool)
    keep = None if task.breaks is None else runs(task.breaks)
    for n, window in enumerate(windows_of(shares, task.size)):
        begin = start + n * task.size
        end = begin + sum(count for count, _ in window)
        left = ids[:begin][need[:begin]].tolist()
        befores = [[*lead, *left], [*lead, *left[start:]]][: 1 + task.compare]
        asked = [([*before, *ids[begin:end].tolist()], max(1, len(before))) for before in befores]
        found = reading.surprisals(asked, SINKS + start)
        scores = [np.append(np.full(0 if b else 1, np.inf), x) for b, x in zip(befores, found, strict=True)]
        score = scores[1] - scores[0] if task.compare else scores[0]
        at = 0
        for count, share in window:
            rank = np.argsort(-score[at : at + count], kind="stable")
            need[begin + at + rank[int(share * count + 0.5) :]] = False
            at += count
        if task.breaks is not None and keep is not None:
            unbroken(need, task.breaks, keep, begin, end)
    return need[start:]
