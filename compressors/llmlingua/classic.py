"""`mode="legacy"`: the package's calls over its own algorithms, with tags, JSON and quotations as it has them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from laconic.models import Model, hf

from ..types import InvalidRequest
from ..units import printable
from . import jsondata, tags
from .budget import Settings
from .llmlingua1 import LLMLingua1
from .llmlingua2 import LLMLingua2, keep_probabilities
from .plan import bounds
from .reading import losses_of
from .recover import recover
from .tokens import FAMILIES, FamilyName

_COMMAS = re.compile(r",(?:\s*,)*\s*")
Count = Callable[[str], int]


def unlimited(folder: Path) -> Tokenizer:
    """A folder's tokenizer as its checkpoint has it, but that it neither truncates nor pads."""
    found = Tokenizer.from_file(str(folder / "tokenizer.json"))
    found.no_truncation()
    found.no_padding()
    return found


def positions(model: Model, folder: Path) -> int:
    """Tokens the model reads at once."""
    if hf.applies(folder):
        facts = hf.config(folder)
        return int(facts.get("max_position_embeddings") or facts.get("n_positions") or hf.LONGEST)
    card = model.card
    return card.segment_tokens + card.query_tokens + card.title_tokens


def family_of(model: Model, folder: Path) -> FamilyName:
    found = hf.config(folder).get("model_type")
    for name in FAMILIES:
        if name == found:
            return name
    raise InvalidRequest(f"{model.card.name} is neither of {', '.join(FAMILIES)}", param="model_name")


def sentences(text: str) -> Sequence[str]:
    """As the package cuts a text where nltk and its data are installed, else as we do."""
    try:
        from nltk import sent_tokenize

        found: list[str] = sent_tokenize(text)
    except (ImportError, LookupError):
        return [text[a:b].strip() for a, b in bounds(text)]
    return found


class Classic:
    """One model's calls; `count` is what tokens are reported in, None for the model's own tokenizer."""

    def __init__(self, model: Model, folder: Path, *, use_llmlingua2: bool, count: Count | None) -> None:
        self.tokenizer = unlimited(folder)
        self.count = count or (lambda text: len(self._ids(text)))
        self.compressor: LLMLingua1 | LLMLingua2
        if use_llmlingua2:
            probabilities = keep_probabilities(model.backend)
            self.compressor = LLMLingua2(self.tokenizer, probabilities, self.count, family_of(model, folder))
        else:
            losses = losses_of(model.backend)
            reads = positions(model, folder)
            self.compressor = LLMLingua1(self.tokenizer, losses, self.count, reads, sentences, "legacy")

    def _ids(self, text: str, special: bool = False) -> list[int]:
        return list(self.tokenizer.encode(printable(text), add_special_tokens=special).ids)

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))

    def length(self, text: str, special: bool) -> int:
        return len(self._ids(text, special))

    def compress(self, context: Sequence[str] | str, given: Mapping[str, Any]) -> dict[str, Any]:
        """`compress_prompt`; what the algorithm has no place for is dropped, as the package drops it."""
        if isinstance(self.compressor, LLMLingua2):
            known = set(signature(self.compressor.compress).parameters)
        else:
            known = {f.name for f in fields(Settings)}
        return self.compressor.compress(context, **{k: v for k, v in given.items() if k in known})

    def structured(self, context: Sequence[str] | str, given: Mapping[str, Any]) -> dict[str, Any]:
        texts = [context] if isinstance(context, str) and context else list(context) or [" "]
        texts = [self._decode(self._ids(t)) for t in texts]
        args = dict(given)
        lengths = sum(self.length(t, True) for t in texts)
        if args["target_token"] == -1:
            around = [self.length(args[name], True) for name in ("instruction", "question")]
            args["target_token"] = (sum(around) + lengths) * args["rate"] - around[0]
            args["target_token"] -= around[1] if args["concate_question"] else 0
        else:
            args["rate"] = args["target_token"] / lengths
        found = tags.legacy(texts, args["rate"])
        segments = {
            "context_segs": found.segs,
            "context_segs_rate": found.rates,
            "context_segs_compress": found.compress,
        }
        return self.compress(found.context, {**args, **segments})

    def json(self, data: Mapping[str, Any], config: jsondata.Config, given: Mapping[str, Any]) -> dict[str, Any]:
        """Raises ValueError where what is left is no JSON, as the package does."""
        context, stay = jsondata.legacy(data, config)
        args = {
            **given,
            "use_context_level_filter": given["use_keyvalue_level_filter"],
            "reorder_context": given["reorder_keyvalue"],
            "force_context_ids": stay,
            "concate_question": False,
            "strict_preserve_uncompressed": False,
        }
        found = self.structured(context, args)
        return {**found, "compressed_prompt": json.loads(_COMMAS.sub(",", found["compressed_prompt"]))}

    def recover(self, original: str, compressed: str, response: str) -> str:
        return recover(original, compressed, response, self._ids, self._decode)
