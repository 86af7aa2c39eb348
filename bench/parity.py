"""Are our strings those of the `llmlingua` package? Random texts and settings on the same random weights.

Tiny checkpoints of both families that LLMLingua-2 comes in are made on the fly; their folders have the names the
package looks for. Its counter, fetched from the network, is the model's own tokenizer here, as in `peers`.
"""

from __future__ import annotations

import math
import random
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import combinations
from pathlib import Path
from typing import Any
from unittest.mock import patch

from laconic.compressors.llmlingua.llmlingua2 import LLMLingua2, keep_probabilities
from laconic.compressors.llmlingua.tokens import ADDED, FamilyName
from laconic.models import load_model

NAMES: dict[FamilyName, str] = {"bert": "bert-base-multilingual-cased", "xlm-roberta": "xlm-roberta-large"}
PROSE = """The committee met on 14 March 2023 and agreed, after a long debate, to postpone the vote. New York's budget
of $4.5 million wasn't enough: "we'll need more," said Dr. Smith. Water boils at 100 degrees; ice melts at 0. Error
E-1042 occurred in module parser.py (line 77) while reading config_v2.json! Is the bridge open? No, it is closed until
further notice. The river flows slowly through green valleys and old towns, past mills, farms and quiet churches.
Machine learning models compress prompts by dropping words that carry little information. See <b>chapter 3</b> of
the user's guide, or e-mail help@example.org. Researchers measured 1,024 samples; 37% were contaminated, others not.
She didn't know why the compression of meeting transcripts had failed again, even though everything looked right."""
FOREIGN = "naïve Straße 日本語 東京タワー кошка привет,мир مرحبا 😀 ① ½ ٣٤ a\u00a0b"
ODD = "👩\u200d👩\u200d👧 e\u0301tude \u200b \ufffd \x00"
SIGNS = "… “quoted” — ##ing ▁the # ### _ \\ !!! ... ' (). a.b.c http://a.b/c?d=1&e=2 -1.5e-7 <|endoftext|>"
SPECIAL = "[SEP] [CLS] [PAD] [UNK] [MASK] [NEW0] [NEW3]x <s> </s> <pad> <unk> <mask>"
RARE = (*FOREIGN.split(" "), *ODD.split(" "), *SIGNS.split(" "), *SPECIAL.split(" "), "x" * 120, "{'k': [1, 2]}")
GAPS = (" ", " ", " ", " ", " ", ", ", ". ", ".\n", "\n", "\n\n", "; ", "  ", "\t", "? ", "! ", "", "-", "\r\n")
PIECES = ". . , ? ! : the The and of Error ing ##ing ▁ ▁the E-1042 e-mail <b> 14 100 1,024 ' 😀 日本語 [SEP] [NEW0]"
FORCED = (*PIECES.split(" "), "\n", "\n", "\n\n", " ", "", "New York", "is it")
RATES = (0.05, 0.1, 0.25, 0.33, 0.5, 0.55, 0.7, 0.8, 0.85, 0.9, 0.95, 0.99, 1.0, 1.2)


def pieces(words: Iterable[str], size: int, inner: str = "") -> list[tuple[str, float]]:
    """All characters of the words and what saves most of the other parts, `size` in all, with their log shares;
    `inner` before those that do not begin a word. Not by a trainer: of two runs, no two of its vocabularies are equal.
    """
    count: Counter[str] = Counter()
    for word in words:
        for i, j in combinations(range(len(word) + 1), 2):
            if j - i <= 8:
                count[(inner if i else "") + word[i:j]] += 1

    def worth(piece: str) -> tuple[bool, int, str]:
        length = len(piece.removeprefix(inner))
        return length > 1, -count[piece] * length, piece

    return [(p, math.log(count[p] / count.total())) for p in sorted(count, key=worth)[:size]]


def tokenizer_of(family: FamilyName) -> Any:
    """A small one of the family's kind, made of PROSE: WordPiece, or Unigram with marks on words."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    if family == "bert":
        specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        known = [*specials, *(p for p, _ in pieces(re.findall(r"\w+|[^\w\s]", PROSE), 415, "##"))]
        made = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(known)}, unk_token="[UNK]"))
        made.normalizer = normalizers.BertNormalizer(lowercase=False)
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        made.decoder = decoders.WordPiece()
        made.add_special_tokens(specials)
        ends = ("[CLS]", "[SEP]")
    else:
        marked = ["<s>", "<pad>", "</s>", "<unk>"]
        shares = [*((s, 0.0) for s in marked), *pieces(("▁" + w for w in PROSE.split()), 256)]
        made = Tokenizer(models.Unigram(shares, unk_id=marked.index("<unk>")))
        made.normalizer = normalizers.NFKC()
        marks = pre_tokenizers.Metaspace()
        made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), marks])
        made.decoder = decoders.Metaspace()
        made.add_special_tokens([*marked, AddedToken("<mask>", lstrip=True, special=True)])
        ends = ("<s>", "</s>")
    made.post_processor = processors.TemplateProcessing(
        single=f"{ends[0]} $A {ends[1]}", special_tokens=[(e, made.token_to_id(e)) for e in ends]
    )
    return made


def build(root: Path, family: FamilyName, seed: int) -> Path:
    """A random classifier as a Hugging Face folder; its head spreads probabilities, so that near-ties are rare."""
    import torch
    from transformers import (
        BertConfig,
        BertForTokenClassification,
        PreTrainedTokenizerFast,
        XLMRobertaConfig,
        XLMRobertaForTokenClassification,
    )

    folder, tokenizer = root / NAMES[family], tokenizer_of(family)
    sizes = {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "initializer_range": 0.2,
        "num_labels": 2,
    }
    torch.manual_seed(seed)
    if family == "bert":
        names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]"}
        names["unk_token"] = "[UNK]"
        model = BertForTokenClassification(BertConfig(**sizes))
    else:
        names = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"}
        names |= {"unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"}
        config = XLMRobertaConfig(
            **sizes, max_position_embeddings=514, type_vocab_size=1, pad_token_id=1, bos_token_id=0, eos_token_id=2
        )
        model = XLMRobertaForTokenClassification(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bias"):  # all are zero in a new model
                weight.normal_(0, 0.1)
    model.eval().save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    return folder


def counter(folder: Path) -> Callable[[str], int]:
    """Tokens of a text in the model's own tokenizer."""
    from tokenizers import Tokenizer

    inner = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return lambda text: len(inner.encode(text, add_special_tokens=False).ids)


def package(folder: Path, alike: bool) -> Any:
    """The package's PromptCompressor over the folder, on the CPU.

    transformers draws rows of the tokens that it adds from a normal distribution of variance 1e-9 around the mean of
    all others (of its version, seed and device). Ours are the mean; `alike`: so are the package's.
    """
    import torch
    from llmlingua import PromptCompressor

    count = counter(folder)

    class Encoding:
        def encode(self, text: str) -> list[int]:
            return [0] * count(text)

    with patch("tiktoken.encoding_for_model", lambda _: Encoding()):
        made = PromptCompressor(str(folder), device_map="cpu", model_config={}, use_llmlingua2=True)
    if alike:
        with torch.no_grad():
            table = made.model.get_input_embeddings().weight
            table[-len(ADDED) :] = table[: -len(ADDED)].mean(0)
    return made


def ours(folder: Path, family: FamilyName) -> LLMLingua2:
    from tokenizers import Tokenizer

    model = load_model(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return LLMLingua2(tokenizer, keep_probabilities(model.backend), counter(folder), family)


def text(rng: random.Random) -> str:
    """Nothing, one rare string, or words and rare strings with gaps of all sorts; one in eight over 512 tokens long."""
    if rng.random() < 0.08:
        return rng.choice(("", " ", "\n", ".", "a", rng.choice(RARE)))
    words = PROSE.split()
    size = rng.choice((1, 3, 10, 10, 40, 40, 120, 400))
    rare = rng.choice((0, 0, 0.02, 0.2))
    gaps = rng.choice((GAPS, GAPS[:5], (" ",), ("\n", ".", " ")))
    out = []
    for _ in range(size):
        out.append(rng.choice(RARE) if rng.random() < rare else rng.choice(words))
        out += rng.choices(gaps, k=rng.choice((1, 1, 1, 1, 2)))
    return "".join(out)


def settings(rng: random.Random, contexts: int) -> dict[str, Any]:
    """Values for every option, most of them the usual ones."""

    def sometimes(share: float, value: Any, default: Any) -> Any:
        return value if rng.random() < share else default

    return {
        "rate": rng.choice((rng.choice(RATES), round(rng.uniform(0.02, 1), 3))),
        "target_token": sometimes(0.3, rng.choice((0, 5, 20, 60, 200, 1000)), -1),
        "use_context_level_filter": rng.random() < 0.5,
        "use_token_level_filter": rng.random() < 0.9,
        "target_context": sometimes(0.2, rng.randint(0, contexts + 1), -1),
        "context_level_rate": sometimes(0.2, round(rng.uniform(0.1, 1), 2), 1.0),
        "context_level_target_token": sometimes(0.2, rng.choice((0, 10, 50, 200, 900)), -1),
        "force_context_ids": sometimes(0.3, rng.sample(range(contexts), rng.randint(0, contexts)), None),
        "return_word_label": rng.random() < 0.6,
        "word_sep": sometimes(0.2, "|", "\t\t|\t\t"),
        "label_sep": sometimes(0.2, "=", " "),
        "token_to_word": sometimes(0.3, "first", "mean"),
        "force_tokens": sometimes(0.6, rng.sample(FORCED, rng.randint(1, 6)), []),
        "force_reserve_digit": rng.random() < 0.4,
        "drop_consecutive": rng.random() < 0.5,
        "chunk_end_tokens": sometimes(
            0.4, rng.choice(([], ["."], ["\n"], [",", "the", "▁the"], ["New York", "."])), [".", "\n"]
        ),
    }


def compare_llmlingua2(cases: int, seed: int, *, alike: bool = True) -> dict[str, Any]:
    """Half of the cases on each family: how many whole answers are equal, how many the package has none for (by what
    it raises; ours answers them too), and the first case that differs. `alike`: see `package`.
    """
    rng = random.Random(seed)
    result: dict[str, Any] = {"cases": cases, "seed": seed, "families": {}, "first_difference": None}
    with tempfile.TemporaryDirectory() as root:
        for number, family in enumerate(NAMES):
            folder = build(Path(root), family, seed)
            theirs, mine = package(folder, alike), ours(folder, family)
            equal, raised = 0, Counter[str]()
            count = cases // len(NAMES) + (number < cases % len(NAMES))
            for _ in range(count):
                context = [text(rng) for _ in range(rng.choice((1, 1, 1, 2, 3, 5)))]
                how = settings(rng, len(context))
                found = mine.compress(context, **how)
                method = rng.choice((theirs.compress_prompt, theirs.compress_prompt_llmlingua2))
                try:
                    wanted = method(list(context), **how)
                except Exception as e:  # of any kind: it is what the package gives
                    raised[type(e).__name__] += 1
                    continue
                equal += found == wanted
                if found != wanted and result["first_difference"] is None:
                    case = {"family": family, "context": context, "settings": how}
                    result["first_difference"] = {**case, "package": wanted, "ours": found}
            compared = count - raised.total()
            result["families"][family] = {
                "cases": count,
                "compared": compared,
                "equal": equal,
                "package_raised": dict(raised),
            }
    return result
