"""LongLLMLingua beside the `llmlingua` package: `laconic-lm` for both, the same documents, question and run.

The package gets the model as a Hugging Face folder in fp32 (its weights those of the int8 file, scaled back), ours runs
the int8 file. The package fails past one window of its iteration on current `transformers`; documents are few and
short enough for one. Nor can it contrast losses over an uncased tokenizer, so it reads what it keeps once, ours every
document twice. Ours is timed new, and at another rate over scores that are known.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from laconic.compressors import Budget, Compressor, Document, Request
from laconic.models import Catalogue
from laconic.models.lm_hf import hf_model
from laconic.service.cache import Lru, Tiers

from .corpus import corpus
from .peers import counted, timed

QUESTION = "How are files opened, and which errors can that raise?"
WORDS, DOCUMENTS, RATE = 40, 12, 0.3


def passages() -> list[str]:
    """Short documents that one window of the package holds after its coarse step."""
    return [" ".join(t.split()[:WORDS]) for t in corpus(DOCUMENTS)]


def folder_of(work: Path) -> Path:
    """`laconic-lm` as a Hugging Face folder."""
    from transformers import PreTrainedTokenizerFast

    source, target = Catalogue().folder("laconic-lm"), work / "laconic-lm-hf"
    shutil.rmtree(target, ignore_errors=True)
    hf_model(source / "lm.int8.onnx").save_pretrained(target)
    PreTrainedTokenizerFast(
        tokenizer_file=str(source / "tokenizer.json"),
        **{"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"},
    ).save_pretrained(target)
    return target


def package(folder: Path) -> Callable[[], Any]:
    PromptCompressor = counted(folder)  # noqa: N806
    made = PromptCompressor(str(folder), device_map="cpu")
    texts = passages()
    return lambda: made.compress_prompt(
        list(texts),
        question=QUESTION,
        rate=RATE,
        rank_method="longllmlingua",
        iterative_size=500,
    )


def ours(compressor: Compressor, rate: float) -> Callable[[], Any]:
    documents = [Document(id=str(i), text=t) for i, t in enumerate(passages())]
    request = Request(documents=documents, query=QUESTION, budget=Budget(kind="rate", value=rate))
    return lambda: compressor(request, recipe="longllmlingua.v1")


def compare(work: Path, rounds: int) -> dict[str, Any]:
    """Seconds of each in turn, medians, and how many times as fast as the package ours are."""
    work.mkdir(parents=True, exist_ok=True)
    known = Compressor(store=Tiers(Lru(64 << 20)))
    ours(known, 0.5)()
    runs = {
        "llmlingua": package(folder_of(work)),
        "laconic-int8": ours(Compressor(), RATE),
        "laconic-int8, scores known": ours(known, RATE),
    }
    tokens = sum(known.reader("laconic-lm").count(passages()))
    middle = {name: statistics.median(s) for name, s in timed(runs, rounds).items()}
    return {
        "documents": DOCUMENTS,
        "tokens": tokens,
        "seconds": {name: round(s, 4) for name, s in middle.items()},
        "factor": {name: round(middle["llmlingua"] / s, 2) for name, s in middle.items() if name != "llmlingua"},
    }
