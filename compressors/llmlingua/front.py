"""`PromptCompressor` with the constructor and methods of the package `llmlingua` 0.2.2, over our pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

from laconic.models import TextTokenizer, load_tokenizer

from ..pipeline import Pipeline
from ..recipes import parts
from ..types import InvalidRequest
from ..units import printable
from . import fixed
from .arguments import Context, check_constructor, given_segments, named, strings, wishes
from .classic import Classic
from .jsondata import Config
from .opening import PACKAGE_MODEL, opened
from .passes import Memory, sharpened
from .recover import quoted
from .tags import Tagged, segments

Answer = dict[str, Any]
BY_WORDS = ("token.v1", "late.v1")  # the package drops words, these of their own accord sentences


class PromptCompressor:
    """The package's `PromptCompressor`: change the import, keep the calls (docs/migrating-from-llmlingua.md).

    `mode="fixed"` maps every call to a recipe of ours, by `recipe` or the model's kind; budgets are met in `reader`'s
    tokens (default: the model's own). Arguments that mean nothing to the recipe raise InvalidRequest. `mode="legacy"`
    runs the package's own algorithms; `token_counter` is then what tokens are counted in. Thread-safe.
    """

    def __init__(
        self,
        model_name: str = PACKAGE_MODEL,
        device_map: str = "cuda",
        model_config: Mapping[str, Any] | None = None,
        open_api_config: Mapping[str, Any] | None = None,
        use_llmlingua2: bool = False,
        llmlingua2_config: Mapping[str, Any] | None = None,
        *,
        recipe: str | None = None,
        mode: Literal["fixed", "legacy"] = "fixed",
        reader: str | None = None,
        token_counter: Callable[[str], int] | None = None,
    ) -> None:
        check_constructor(open_api_config, use_llmlingua2, llmlingua2_config)
        if mode not in ("fixed", "legacy"):
            raise InvalidRequest(f"mode must be fixed or legacy, not {mode!r}", param="mode")
        if mode == "fixed" and token_counter is not None:
            raise InvalidRequest("token_counter is of mode='legacy'; name a reader here", param="token_counter")
        if mode == "legacy" and recipe is not None:
            raise InvalidRequest("mode='legacy' knows no recipes", param="recipe")
        self.mode, self.reader_name, self.use_llmlingua2 = mode, reader, use_llmlingua2
        self.most_forced = int((llmlingua2_config or {}).get("max_force_token", 100))
        self.opened = opened(model_name, device_map, model_config or {}, use_llmlingua2=use_llmlingua2, recipe=recipe)
        self._counter = token_counter

    def __call__(self, *args: Any, **kwargs: Any) -> Answer:
        return self.compress_prompt(*args, **kwargs)

    def compress_prompt(
        self,
        context: Context,
        instruction: str = "",
        question: str = "",
        rate: float = 0.5,
        target_token: float = -1,
        iterative_size: int = 200,
        force_context_ids: Sequence[int] | None = None,
        force_context_number: int | None = None,
        use_sentence_level_filter: bool = False,
        use_context_level_filter: bool = True,
        use_token_level_filter: bool = True,
        keep_split: bool = False,
        keep_first_sentence: int = 0,
        keep_last_sentence: int = 0,
        keep_sentence_number: int = 0,
        high_priority_bonus: int = 100,
        context_budget: str = "+100",
        token_budget_ratio: float = 1.4,
        condition_in_question: str = "none",
        reorder_context: str = "original",
        dynamic_context_compression_ratio: float = 0.0,
        condition_compare: bool = False,
        add_instruction: bool = False,
        rank_method: str = "llmlingua",
        concate_question: bool = True,
        context_segs: Sequence[Sequence[str]] | None = None,
        context_segs_rate: Sequence[Sequence[float]] | None = None,
        context_segs_compress: Sequence[Sequence[bool]] | None = None,
        target_context: int = -1,
        context_level_rate: float = 1.0,
        context_level_target_token: int = -1,
        return_word_label: bool = False,
        word_sep: str = "\t\t|\t\t",
        label_sep: str = " ",
        token_to_word: str = "mean",
        force_tokens: Sequence[str] = (),
        force_reserve_digit: bool = False,
        drop_consecutive: bool = False,
        chunk_end_tokens: Sequence[str] = (".", "\n"),
        strict_preserve_uncompressed: bool = True,
    ) -> Answer:
        """Contexts between instruction and question, in `rate` of all their tokens or `target_token` of contexts."""
        given = named(locals())
        if self.mode == "legacy":
            return self._classic.compress(context, given)
        texts = strings(context)
        if context_segs is None:
            return self._fixed([[Tagged(t)] for t in texts], given, tagged=False)
        found = given_segments(texts, context_segs, context_segs_rate, context_segs_compress)
        return self._fixed(found, given, tagged=True)

    def compress_prompt_llmlingua2(
        self,
        context: Context,
        rate: float = 0.5,
        target_token: int = -1,
        use_context_level_filter: bool = False,
        use_token_level_filter: bool = True,
        target_context: int = -1,
        context_level_rate: float = 1.0,
        context_level_target_token: int = -1,
        force_context_ids: Sequence[int] = (),
        return_word_label: bool = False,
        word_sep: str = "\t\t|\t\t",
        label_sep: str = " ",
        token_to_word: str = "mean",
        force_tokens: Sequence[str] = (),
        force_reserve_digit: bool = False,
        drop_consecutive: bool = False,
        chunk_end_tokens: Sequence[str] = (".", "\n"),
    ) -> Answer:
        """Contexts alone, each cut to the rate unless the context filter is on."""
        given = named(locals())
        if self.mode == "legacy":
            return self._classic.compress(context, given)
        return self._fixed([[Tagged(t)] for t in strings(context)], given, tagged=False)

    def structured_compress_prompt(
        self,
        context: Context,
        instruction: str = "",
        question: str = "",
        rate: float = 0.5,
        target_token: float = -1,
        iterative_size: int = 200,
        force_context_ids: Sequence[int] | None = None,
        force_context_number: int | None = None,
        use_sentence_level_filter: bool = False,
        use_context_level_filter: bool = True,
        use_token_level_filter: bool = True,
        keep_split: bool = False,
        keep_first_sentence: int = 0,
        keep_last_sentence: int = 0,
        keep_sentence_number: int = 0,
        high_priority_bonus: int = 100,
        context_budget: str = "+100",
        token_budget_ratio: float = 1.4,
        condition_in_question: str = "none",
        reorder_context: str = "original",
        dynamic_context_compression_ratio: float = 0.0,
        condition_compare: bool = False,
        add_instruction: bool = False,
        rank_method: str = "llmlingua",
        concate_question: bool = True,
        strict_preserve_uncompressed: bool = True,
    ) -> Answer:
        """Contexts with `<llmlingua, rate=0.4, compress=False>…</llmlingua>` in them: each run to its own rate or
        the call's, which else decides only how many contexts stay; `target_token` is the most, whatever tags say.
        """
        given = named(locals())
        if self.mode == "legacy":
            return self._classic.structured(context, given)
        found = [segments(t, f"context.{n}") for n, t in enumerate(strings(context))]
        return self._fixed(found, given, tagged=True)

    def compress_json(
        self,
        json_data: Mapping[str, Any],
        json_config: Config,
        instruction: str = "",
        question: str = "",
        rate: float = 0.5,
        target_token: float = -1,
        iterative_size: int = 200,
        use_sentence_level_filter: bool = False,
        use_keyvalue_level_filter: bool = False,
        use_token_level_filter: bool = True,
        keep_split: bool = False,
        keep_first_sentence: int = 0,
        keep_last_sentence: int = 0,
        keep_sentence_number: int = 0,
        high_priority_bonus: int = 100,
        context_budget: str = "+100",
        token_budget_ratio: float = 1.4,
        condition_in_question: str = "none",
        reorder_keyvalue: str = "original",
        condition_compare: bool = False,
        rank_method: str = "llmlingua",
    ) -> Answer:
        """A dictionary whose texts are compressed key by key as `json_config` says; the answer's prompt is one too."""
        given = named(locals())
        if self.mode == "legacy":
            return self._classic.json(json_data, json_config, given)
        if instruction:
            raise InvalidRequest("instruction means nothing to JSON: there is no place for it", param="instruction")
        given["use_context_level_filter"] = given.pop("use_keyvalue_level_filter")
        given["reorder_context"] = given.pop("reorder_keyvalue")
        recipe = self.opened.recipe_for(given)
        made = sharpened(self.pipeline(recipe), wishes(given, recipe))
        return fixed.compress_json(*made, json_data, json_config)

    def recover(self, original_prompt: str, compressed_prompt: str, response: str) -> str:
        """A response with what it quotes of the compressed prompt replaced by the passages it came from."""
        if self.mode == "legacy":
            return self._classic.recover(original_prompt, compressed_prompt, response)
        encoded = self._tokenizer.encode([printable(original_prompt)])[0]
        spans = encoded.spans.tolist()
        return quoted(
            encoded.ids,
            compressed_prompt,
            response,
            lambda text: self._tokenizer.encode([printable(text)])[0].ids,
            lambda start, end: original_prompt[spans[start][0] : spans[end - 1][1]],
        )

    def get_token_length(self, text: str, add_special_tokens: bool = True, use_oai_tokenizer: bool = False) -> int:
        """Tokens in the model's tokenizer; `use_oai_tokenizer`: in what answers are counted in."""
        if self.mode == "legacy":
            return self._classic.count(text) if use_oai_tokenizer else self._classic.length(text, add_special_tokens)
        if use_oai_tokenizer:
            return self.opened.compressor.reader(self.reader_name).count([printable(text)])[0]
        special = self._tokenizer.inner.num_special_tokens_to_add(False) if add_special_tokens else 0
        return self._tokenizer.count([printable(text)])[0] + int(special)

    def pipeline(self, recipe: str) -> Pipeline:
        """A recipe's pipeline whose scores are kept from one pass to the next; for one call."""
        compressor = self.opened.compressor
        model = compressor.model_of(recipe, self.opened.model)
        made = parts(recipe, model, Memory())
        if recipe in BY_WORDS:
            made = replace(made, unit="word")
        return Pipeline(made, compressor.reader(self.reader_name))

    def _fixed(self, contexts: Sequence[Sequence[Tagged]], given: Mapping[str, Any], *, tagged: bool) -> Answer:
        recipe = self.opened.recipe_for(given)
        w = wishes(given, recipe)
        if len(w.force_tokens) > self.most_forced:
            raise InvalidRequest(f"force_tokens may be {self.most_forced} (max_force_token)", param="force_tokens")
        return fixed.compress(*sharpened(self.pipeline(recipe), w), contexts, tagged=tagged)

    @cached_property
    def _classic(self) -> Classic:
        model, folder = self.opened.classic(self.use_llmlingua2)
        count = self._counter
        if count is None and self.reader_name is not None:
            reader = self.opened.compressor.reader(self.reader_name)

            def count(text: str) -> int:
                return reader.count([printable(text)])[0]

        return Classic(model, folder, use_llmlingua2=self.use_llmlingua2, count=count)

    @cached_property
    def _tokenizer(self) -> TextTokenizer:
        return load_tokenizer(self.opened.folder(self.opened.model or self.opened.compressor.model_name))
