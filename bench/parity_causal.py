"""Are our strings those of the `llmlingua` package with a causal model? Random texts and settings, the same weights.

Tiny Llama and GPT-2 checkpoints with random weights and tokenizers of their kinds are made on the fly; the package's
counter and its nltk, which both fetch from the network, have simple stand-ins on both sides. Beyond one window the
package raises, for its cache is of another age of `transformers`: those cases are run again with a model that takes
and gives keys and values in the form it knows, and are reported apart.
"""

from __future__ import annotations

import json
import random
import re
import tempfile
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any
from unittest.mock import patch

from laconic.compressors.llmlingua.llmlingua1 import LLMLingua1
from laconic.compressors.llmlingua.reading import losses_of
from laconic.models import load_model

from .parity import PROSE

FAMILIES = "llama", "gpt2"
POSITIONS = 1024
SPECIALS = "<unk>", "<s>", "</s>"
RARE = ("naïve", "Straße", "日本語", "😀", "кошка", "<s>", "{'k': [1, 2]}", "x" * 60, "1,024", "—", "don't", "e.g.")
GAPS = (" ", " ", " ", " ", " ", " ", ", ", ". ", ". ", ".\n", "\n", "\n\n", "? ", "; ")
_END = re.compile(r"(?<=[.!?])\s+")


def sentences(text: str) -> list[str]:
    """Stands for nltk's on both sides."""
    return [s for s in _END.split(text) if s.strip()]


def llama_tokenizer() -> Any:
    """BPE as Llama 2's: marks for spaces, bytes for what it lacks (a line break is 13), a first token."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    spaced = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trained = Tokenizer(models.BPE())
    trained.normalizer = spaced
    trained.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trained.train_from_iterator(PROSE.split("\n") * 3, trainers.BpeTrainer(vocab_size=400, show_progress=False))
    found = json.loads(trained.to_str())["model"]
    pieces = dict.fromkeys([*SPECIALS, *(f"<0x{b:02X}>" for b in range(256)), *found["vocab"]])
    made = Tokenizer(
        models.BPE(
            vocab={piece: i for i, piece in enumerate(pieces)},
            merges=[tuple(m) for m in found["merges"]],
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    made.normalizer = spaced
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    made.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in SPECIALS])
    return made


def gpt2_tokenizer() -> Any:
    """Byte-level BPE, no special token before a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    made.train_from_iterator(PROSE.split("\n") * 3, trainer)
    return made


def build(folder: Path, family: str, seed: int) -> None:
    """A checkpoint in `folder`, its weights large enough that losses lie apart."""
    import torch
    from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PreTrainedTokenizerFast

    torch.manual_seed(seed)
    if family == "llama":
        tokenizer, special = llama_tokenizer(), {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
        config: Any = LlamaConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=POSITIONS,
        )
    else:
        tokenizer, special = gpt2_tokenizer(), {"eos_token": "<|endoftext|>"}
        config = GPT2Config(
            vocab_size=tokenizer.get_vocab_size(),
            n_embd=64,
            n_layer=2,
            n_head=4,
            n_positions=POSITIONS,
            bos_token_id=0,
            eos_token_id=0,
        )
    model = AutoModelForCausalLM.from_config(config)
    for p in model.parameters():
        if p.dim() > 1:
            p.data *= 8
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)


class Pairs:
    """A model that takes and gives keys and values as the package knows them: a pair for each layer."""

    def __init__(self, model: Any) -> None:
        self.model = model
        named = signature(model.forward).parameters
        self.cached = "cache" if "cache" in named else "past_key_values"  # see models/causal.py

    def __call__(self, ids: Any, attention_mask: Any, past_key_values: Any, use_cache: bool) -> Any:
        from transformers import DynamicCache

        cache = DynamicCache()
        for n, (keys, values) in enumerate(past_key_values or ()):
            cache.update(keys, values, n)
        found = self.model(ids, attention_mask=attention_mask, use_cache=use_cache, **{self.cached: cache})
        found.past_key_values = [(layer.keys, layer.values) for layer in cache.layers]
        return found


def package(folder: Path) -> Any:
    """`llmlingua` over the folder, on the CPU; what it counts with is the model's own tokenizer."""
    from llmlingua import PromptCompressor
    from tokenizers import Tokenizer

    count = counter(Tokenizer.from_file(str(folder / "tokenizer.json")))

    class Encoding:
        def encode(self, text: str) -> list[int]:
            return [0] * count(text)

    with patch("tiktoken.encoding_for_model", lambda _: Encoding()):
        return PromptCompressor(str(folder), device_map="cpu", model_config={})  # it writes into its default


def answer(theirs: Any, context: list[str], settings: dict[str, Any]) -> dict[str, Any] | Exception:
    """What the package gives. It changes the lists it is given."""
    own = {k: list(v) if k == "force_context_ids" and v else v for k, v in settings.items()}
    try:
        found: dict[str, Any] = theirs.compress_prompt(list(context), **own)
    except Exception as e:  # of any kind: it is what the package gives
        return e
    return found


def ours(folder: Path) -> LLMLingua1:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    losses = losses_of(load_model(folder).backend)
    return LLMLingua1(tokenizer, losses, counter(tokenizer), POSITIONS, sentences, mode="legacy")


def counter(tokenizer: Any) -> Callable[[str], int]:
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def text_of(rng: random.Random, words: int) -> str:
    known = PROSE.split()
    out = [rng.choice(RARE) if rng.random() < 0.01 else rng.choice(known) for _ in range(words)]
    return "".join(w + rng.choice(GAPS) for w in out).strip()


def segments_of(rng: random.Random, context: list[str]) -> dict[str, Any]:
    """Each context cut in up to four, with rates and flags."""
    segs = []
    for text in context:
        cuts = sorted(rng.sample(range(1, len(text)), min(len(text) - 1, rng.randint(0, 3))))
        segs.append([text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)])
    return {
        "context_segs": segs,
        "context_segs_rate": [[rng.choice((0.2, 0.5, 0.8, 1.0)) for _ in s] for s in segs],
        "context_segs_compress": [[rng.random() < 0.8 for _ in s] for s in segs],
        "strict_preserve_uncompressed": rng.random() < 0.5,
    }


def case_of(rng: random.Random, length: Callable[[str], int]) -> tuple[list[str], dict[str, Any]]:
    """Contexts and settings; windows mostly of a size that one of them covers about half of the text or all of it."""
    context = [text_of(rng, rng.randint(3, 45)) for _ in range(rng.choice((1, 1, 2, 3, 4, 5)))]
    tokens = sum(map(length, context))
    methods = ["llmlingua", "longllmlingua", "gzip", *(["bm25"] if find_spec("rank_bm25") else [])]
    s: dict[str, Any] = {
        "instruction": rng.choice(("", "Answer the question.")),
        "question": rng.choice(("When did the committee meet?", "Is the bridge open?")),
        "rate": rng.choice((0.1, 0.25, 0.33, 0.5, 0.75, 1.0)),
        "target_token": rng.choice((-1, -1, tokens // 4, tokens // 2)),
        "iterative_size": rng.choice((200, 2000, *[max(20, rng.randint(tokens // 2, tokens))] * 4, 40)),
        "rank_method": rng.choice(methods),
        "condition_in_question": rng.choice(("none", "before", "after", "none_condition", "after_condition")),
        "condition_compare": rng.random() < 0.3,
        "use_context_level_filter": rng.random() < 0.7,
        "use_sentence_level_filter": rng.random() < 0.3,
        "use_token_level_filter": rng.random() < 0.9,
        "keep_split": rng.random() < 0.3,
        "keep_first_sentence": rng.choice((0, 0, 1, 3)),
        "keep_last_sentence": rng.choice((0, 0, 1, 3)),
        "keep_sentence_number": rng.choice((0, 0, 1, 2)),
        "high_priority_bonus": rng.choice((100, 1)),
        "context_budget": rng.choice(("+100", "*1.5", "-50", "/2", "*1", "")),
        "token_budget_ratio": rng.choice((1.4, 0.7)),
        "reorder_context": rng.choice(("original", "sort", "two_stage")),
        "dynamic_context_compression_ratio": rng.choice((0.0, 0.0, 0.3)),
        "add_instruction": rng.random() < 0.3,
        "concate_question": rng.random() < 0.7,
        "force_context_ids": rng.choice((None, None, [0], [len(context) - 1])),
        "force_context_number": rng.choice((None, None, 0, 1, 2)),
    }
    return context, s | (segments_of(rng, context) if rng.random() < 0.25 else {})


def compare_llmlingua1(cases: int, seed: int) -> dict[str, Any]:
    """Half of the cases on each family: how many whole answers are equal, of how many where tokens were dropped, how
    many the package has none for (by what it raises; ours answers them too), and the first case that differs.

    `more_windows` are the cases where the package needs keys and values as it knows them.
    """
    rng = random.Random(seed)
    result: dict[str, Any] = {"cases": cases, "seed": seed, "families": {}, "first_difference": None}
    with tempfile.TemporaryDirectory() as root, patch("nltk.sent_tokenize", sentences):
        for number, family in enumerate(FAMILIES):
            folder = Path(root) / family
            build(folder, family, seed)
            theirs, mine = package(folder), ours(folder)
            plain, paired = theirs.model, Pairs(theirs.model)
            groups = {name: {"compared": 0, "equal": 0, "shortened": 0} for name in ("one_window", "more_windows")}
            raised = Counter[str]()
            count = cases // len(FAMILIES) + (number < cases % len(FAMILIES))
            for _ in range(count):
                context, settings = case_of(rng, mine.reading.length)
                found, name = mine.compress(context, **settings), "one_window"
                theirs.model = plain
                wanted = answer(theirs, context, settings)
                if isinstance(wanted, ValueError) and "unpack" in str(wanted):
                    theirs.model, name = paired, "more_windows"
                    wanted = answer(theirs, context, settings)
                if isinstance(wanted, Exception):
                    raised[type(wanted).__name__] += 1
                    continue
                whole = mine.compress(context, **{**settings, "use_token_level_filter": False})
                groups[name]["compared"] += 1
                groups[name]["equal"] += found == wanted
                groups[name]["shortened"] += found["compressed_tokens"] < whole["compressed_tokens"]
                if found != wanted and result["first_difference"] is None:
                    case = {"family": family, "context": context, "settings": settings}
                    result["first_difference"] = {**case, "package": wanted, "ours": found}
            result["families"][family] = {"cases": count, **groups, "package_raised": dict(raised)}
    return result
