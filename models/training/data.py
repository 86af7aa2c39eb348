"""Training examples: passages cut into segments, queries with graded negatives, sentence and token labels.

Reads question sets (`question_sets`) and `google-compression.jsonl.xz`. Nothing under an `eval` folder is ever opened.
"""

from __future__ import annotations

import math
import random
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import sentencex
from tokenizers import Tokenizer

from ..question_sets import SetError, names, read_set, rows

CLS, SEP = 101, 102
TEXT_TOKENS, TITLE_TOKENS, QUERY_TOKENS = 240, 16, 64

# Queries drawn per pass and how their labels may be used: `rank` alone where only the passage is known.
MIX: dict[str, tuple[int, str]] = {
    "squad": (6000, "evidence"),
    "squad-train": (4186, "evidence"),
    "nq": (3201, "evidence"),
    "fairytale": (4000, "evidence"),
    "afriqa": (3000, "evidence"),
    "twowiki": (367 * 8, "evidence"),
    "qmsum": (1200, "evidence"),
    "evidence-inference": (300, "evidence"),
    "wikitables": (700, "evidence"),
    "medquad": (300, "rank"),
    "boolq": (1000, "rank"),
}


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One model input without its query: `[CLS] (title :)? text [SEP]`, with labels' coordinates kept."""

    ids: list[int]
    text_at: int  # index of the first text token
    offsets: list[tuple[int, int]]  # of the text tokens, in the passage
    sentences: list[int]  # sentence number of each text token
    source: str
    pid: str
    group: str


@dataclass(frozen=True, kw_only=True)
class Question:
    """One query, the segments that hold its evidence and how far its labels reach."""

    ids: list[int]
    source: str
    group: str
    use: str
    gold: dict[int, tuple[list[list[int]], list[list[int]]]]  # segment number -> evidence, answer spans
    relevant: frozenset[str]  # pids
    context: tuple[str, ...]
    text: str


@dataclass(kw_only=True)
class Corpus:
    """All segments and questions of the mix, with the indexes that negative sampling needs."""

    segments: list[Segment] = field(default_factory=list)
    questions: dict[str, list[Question]] = field(default_factory=lambda: defaultdict(list))
    by_pid: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    by_group: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    neighbours: dict[tuple[str, str, str], list[int]] = field(default_factory=dict)
    asked: dict[tuple[str, str], list] = field(default_factory=lambda: defaultdict(list))  # all answers in a passage


def read(path: Path) -> Iterator[dict]:
    """The rows of a file; raises SetError for evaluation data."""
    refuse(path)
    yield from rows(path)


def refuse(path: Path) -> None:
    if "eval" in path.parts:
        raise SetError(f"refusing to train on {path}")


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Sentences within lines: lines bound sentences here as they do in `compressors.units`."""
    out, start = [], 0
    for line in text.splitlines(keepends=True):
        for b in sentencex.get_sentence_boundaries("en", line):
            out.append((start + b["start_index"], start + b["end_index"]))
        start += len(line)
    return out


def cut(tok: Tokenizer, text: str, title: str | None, source: str, pid: str, group: str) -> Iterator[Segment]:
    """Greedy segments of whole sentences, at most TEXT_TOKENS text tokens each."""
    prefix = tok.encode(title + " :", add_special_tokens=False).ids[:TITLE_TOKENS] if title else []
    enc = tok.encode(text, add_special_tokens=False)
    ends = [e for _, e in sentence_spans(text)]
    number, which = 0, []
    for start, _ in enc.offsets:
        while number < len(ends) - 1 and start >= ends[number]:
            number += 1
        which.append(number)
    at = 0
    while at < len(enc.ids):
        stop = min(at + TEXT_TOKENS, len(enc.ids))
        if stop < len(enc.ids) and which[stop] == which[stop - 1]:
            back = stop
            while back > at and which[back - 1] == which[stop]:
                back -= 1
            stop = back if back > at else stop
        ids = [CLS, *prefix, *enc.ids[at:stop], SEP]
        yield Segment(
            ids=ids,
            text_at=1 + len(prefix),
            offsets=enc.offsets[at:stop],
            sentences=which[at:stop],
            source=source,
            pid=pid,
            group=group,
        )
        at = stop


def load(folder: Path, tok: Tokenizer, *, seed: int, limit: int | None = None) -> Corpus:
    """Read the mix; passages no drawn question can reach are left out.

    Raises SetError for what cannot be trained on.
    """
    refuse(folder)
    rng = random.Random(seed)
    corpus = Corpus()
    for source, use in uses(folder).items():
        found = read_set(folder, source)
        passages, queries = found["passages"], [q for q in found["queries"] if usable(q, use)]
        for label in (x for q in found["queries"] for x in q["labels"]):
            corpus.asked[source, label["pid"]] += label["answers"][:1]
        rng.shuffle(queries)
        queries = queries[: min(drawn(source, queries), limit or len(queries))]
        wanted = {q["group"] for q in queries}
        grouped = defaultdict(list)
        for p in passages.values():
            if p["group"] in wanted:
                grouped[p["group"]].append(p)
        near = Neighbours([p for g in grouped.values() for p in g])
        keep = chosen(queries, grouped, near, rng)
        for pid in sorted(keep):
            p = passages[pid]
            title = p["title"] if p["title"] and rng.random() < 0.6 else None
            for s in cut(tok, p["text"], title, source, pid, p["group"]):
                corpus.by_pid[source, pid].append(len(corpus.segments))
                corpus.by_group[source, p["group"]].append(len(corpus.segments))
                corpus.segments.append(s)
        for q in queries:
            corpus.questions[source].append(question(q, source, use, tok, corpus))
            pids = [i for i in near.of(q["query"], 12) if i in keep]
            corpus.neighbours[source, q["query"], q["group"]] = [n for pid in pids for n in corpus.by_pid[source, pid]]
    sides = {held_out(q.group) for questions in corpus.questions.values() for q in questions}
    if len(sides) < 2:
        raise SetError(f"the questions of {folder} are of too few groups: one in twenty is kept to judge by")
    return corpus


def uses(folder: Path) -> dict[str, str]:
    """The folder's sets, ours in their order and then any others, and how their labels may be used."""
    found = names(folder)
    ours = {name: use for name, (_, use) in MIX.items() if name in found}
    return ours | {name: "evidence" for name in found if name not in ours}


def drawn(source: str, questions: Sized) -> int:
    """How many questions of a set a pass has: of sets that are not ours all."""
    return MIX[source][0] if source in MIX else len(questions)


def usable(q: dict, use: str) -> bool:
    return bool(q["labels"]) and (use == "rank" or any(x["evidence"] for x in q["labels"]))


def chosen(queries: list[dict], grouped: dict, near: Neighbours, rng: random.Random) -> set[str]:
    """Passages worth encoding: the labelled, those nearest to a query, and a few of its group."""
    keep: set[str] = set()
    for q in queries:
        keep.update(x["pid"] for x in q["labels"])
        keep.update(near.of(q["query"], 2))
        keep.update(near.of(q["query"], 2, group=q["group"]))
        others = grouped[q["group"]]
        keep.update(p["pid"] for p in rng.sample(others, min(2, len(others))))
    return keep


def question(q: dict, source: str, use: str, tok: Tokenizer, corpus: Corpus) -> Question:
    gold = {}
    for label in q["labels"]:
        numbers = corpus.by_pid[source, label["pid"]]
        for n in numbers:
            s = corpus.segments[n]
            low, high = s.offsets[0][0], s.offsets[-1][1]
            whole = label["level"] == "passage"  # only the passage is known: no token labels from it
            evidence = [e for e in label["evidence"] if e[0] < high and e[1] > low and not whole]
            if evidence or whole or not label["evidence"]:
                gold[n] = (evidence, [a for a in label["answers"] if a[0] < high and a[1] > low])
    return Question(
        ids=[CLS, *tok.encode(q["query"], add_special_tokens=False).ids[:QUERY_TOKENS], SEP],
        source=source,
        group=q["group"],
        use=use,
        gold=gold,
        relevant=frozenset(x["pid"] for x in q["labels"]),
        context=tuple(q["context"]),
        text=q["query"],
    )


class Neighbours:
    """BM25 over one set's passages, for hard negatives (Robertson & Zaragoza 2009)."""

    def __init__(self, passages: Sequence[dict]) -> None:
        self.pids = [p["pid"] for p in passages]
        self.groups = np.array([p["group"] for p in passages])
        counts = [Counter(words(p["text"])) for p in passages]
        mean = sum(sum(c.values()) for c in counts) / max(1, len(counts))
        lists: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for i, c in enumerate(counts):
            norm = 1.2 * (0.25 + 0.75 * sum(c.values()) / mean)
            for w, n in c.items():
                lists[w].append((i, n * 2.2 / (n + norm)))
        self.postings = {w: tuple(np.array(x) for x in zip(*v, strict=True)) for w, v in lists.items()}
        self.cache: dict[tuple[str, str | None], list[str]] = {}

    def of(self, text: str, count: int, group: str | None = None) -> list[str]:
        """The pids of the (at most 12) passages nearest to `text`, of one group if asked."""
        key = (text, group)
        if key not in self.cache:
            score = np.zeros(len(self.pids))
            for w in set(words(text)) & self.postings.keys():
                at, value = self.postings[w]
                score[at] += value * math.log(1 + (len(self.pids) - len(at) + 0.5) / (len(at) + 0.5))
            if group is not None:
                score *= self.groups == group
            best = np.argsort(-score, kind="stable")[:12]
            self.cache[key] = [self.pids[i] for i in best if score[i] > 0]
        return self.cache[key][:count]


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def negatives(corpus: Corpus, q: Question, count: int, rng: random.Random) -> list[int]:
    """Segments without evidence: half of them nearest by BM25, the rest from the group, then anywhere."""
    free = lambda n: corpus.segments[n].pid not in q.relevant  # noqa: E731
    hard = [n for n in corpus.neighbours[q.source, q.text, q.group] if free(n)]
    group = [n for n in corpus.by_group[q.source, q.group] if free(n)]
    rng.shuffle(group)
    # singletons (one passage per article) have no group to speak of: neighbours alone
    picked = list(dict.fromkeys(hard[: 2 + count // 2] if len(group) < 3 else hard[: count // 2]))
    picked += [n for n in group if n not in picked]
    while len(picked) < count:
        n = rng.randrange(len(corpus.segments))
        if (corpus.segments[n].source == q.source and free(n)) or rng.random() < 0.02:
            picked.append(n)
    return picked[:count]


def held_out(group: str) -> bool:
    """One group in twenty is never trained on: development figures and calibration come from these."""
    return zlib.crc32(group.encode()) % 20 == 0


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """A segment read without a query, and which of its text tokens a query-agnostic compressor keeps."""

    segment: Segment
    label: np.ndarray  # float32 [text tokens]


def deletions(folder: Path, tok: Tokenizer, corpus: Corpus, limit: int | None = None) -> list[Deletion]:
    """Sentence compression pairs, and passages of SQuAD and of sets that are not ours with the answers to all
    questions asked about them, where there are three and more.
    """
    out = []
    pairs = folder / "google-compression.jsonl.xz"
    for row in list(read(pairs))[:limit] if pairs.exists() else []:
        group = f"gc-{row['id']}"
        for s in cut(tok, row["original"], None, "google-compression", group, group):
            out.append(Deletion(segment=s, label=token_labels(s, row["keep"], [])[0]))
    for s in corpus.segments:
        answers = corpus.asked[s.source, s.pid]
        if len(answers) >= 3 and (s.source == "squad" or s.source not in MIX):
            out.append(Deletion(segment=s, label=token_labels(s, answers, [])[0]))
    return out


def token_labels(s: Segment, evidence: Sequence, answers: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """Per text token: 1.0 inside evidence; weight 2 inside an answer that is inside evidence."""
    label = np.zeros(len(s.offsets), np.float32)
    weight = np.ones(len(s.offsets), np.float32)
    for i, (a, b) in enumerate(s.offsets):
        if any(a < e and b > st for st, e in evidence):
            label[i] = 1.0
            if any(a < e and b > st for st, e in answers):
                weight[i] = 2.0
    return label, weight
