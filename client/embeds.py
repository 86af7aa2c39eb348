"""Latents in a decoder of Hugging Face's library, in this process: embeddings of a whole prompt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .latents import tensor
from .wire_latents import LatentsAnswer


def inputs_embeds(
    model: Any,
    tokenizer: Any,
    before: str | Sequence[int],
    latents: Any,
    after: str | Sequence[int],
    spread: tuple[LatentsAnswer, int] | None = None,
) -> dict[str, Any]:
    """What `model.generate(**…)` of transformers takes: latents between the decoder's own embeddings of two texts.

    `inputs_embeds` [1, n, width] in the model's dtype and `attention_mask` [1, n], on its device. The texts, or their
    token ids, are read apart from each other, and no special tokens are added to them. Where an answer says that its
    decoder counts positions as in the text, give its document and the rate as `spread`: there are `position_ids`
    [1, n] too, for `greedy`.
    """
    import torch

    table = model.get_input_embeddings()
    device = table.weight.device

    def embedded(text: str | Sequence[int]) -> Any:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"] if isinstance(text, str) else text
        return table(torch.tensor(list(ids), dtype=torch.long, device=device))

    with torch.no_grad():
        head, tail, middle = embedded(before), embedded(after), tensor(latents)
        if middle.shape[1] != head.shape[1]:
            raise ValueError(f"latents of width {middle.shape[1]} for a decoder of width {head.shape[1]}")
        joined = torch.cat((head, middle.torch().to(device, head.dtype), tail))[None]
    made = {"inputs_embeds": joined, "attention_mask": torch.ones(joined.shape[:2], dtype=torch.long, device=device)}
    if spread is not None:
        (document, rate), begin = spread, len(head)
        end = begin + document.tokens_in
        at = [*range(begin), *(begin + p for p in places(document.segments, rate)), *range(end, end + len(tail))]
        made["position_ids"] = torch.tensor([at], device=device)
    return made


def places(segments: Iterable[Sequence[int]], rate: int) -> list[int]:
    """Where in the text's tokens each latent stands: in the middle of those it stands for.

    A segment ends in how many latents and how many tokens it has, as in a LatentsAnswer.
    """
    out, begin = [], 0
    for *_, count, tokens in segments:
        out += [begin + min(n * rate + (rate - 1) // 2, tokens - 1) for n in range(count)]
        begin += tokens
    return out


def greedy(model: Any, given: dict[str, Any], end: int, most: int = 64) -> list[int]:
    """The decoder's first choice, token by token, up to the token `end`; with keys and values kept."""
    import torch

    said: list[int] = []
    more: dict[str, Any] = dict(given)
    with torch.no_grad():
        while len(said) < most:
            found = model(**more, use_cache=True, logits_to_keep=1)
            token = int(found.logits[0, -1].argmax())
            if token == end:
                break
            said.append(token)
            one = torch.ones_like(given["attention_mask"][:, :1])
            mask = torch.cat((more["attention_mask"], one), 1)
            at = {"position_ids": more["position_ids"][:, -1:] + 1} if "position_ids" in more else {}
            ids = torch.full_like(one, token)
            more = {"input_ids": ids, "attention_mask": mask, "past_key_values": found.past_key_values, **at}
    return said


def chat_embeds(
    model: Any, tokenizer: Any, messages: Any, latents: Any, placeholder: str = "<|latents|>", **template: Any
) -> dict[str, Any]:
    """The same for a chat in the tokenizer's template: latents stand where the messages' text has the placeholder.

    The template ends where the answer begins, unless `add_generation_prompt=False` is among its options.
    """
    options = {"add_generation_prompt": True, **template, "tokenize": False}
    text: str = tokenizer.apply_chat_template(messages, **options)
    if (n := text.count(placeholder)) != 1:
        raise ValueError(f"the placeholder {placeholder!r} comes {n} times in the chat; it must come once")
    before, after = text.split(placeholder)
    return inputs_embeds(model, tokenizer, before, latents, after)
