"""Random inputs: what people send and what nobody should."""

from __future__ import annotations

from hypothesis import strategies as st

from laconic.compressors import Budget, Document, Keep, Request

AWKWARD = [
    "",
    " ",
    "\n\n\t ",
    "x",
    "\x00",
    "a\x00b\x00",
    "\ud800",
    "half \udfff pair",
    "<|endoftext|>",
    "[CLS] [SEP] [MASK] [PAD] [UNK] <s> </s>",
    "😀" * 40,
    "👩‍👩‍👧‍👦 family",
    "日本語の文章です。これはテストです。終わり。",
    "مرحبا بالعالم. كيف حالك؟",
    "שלום עולם. מה שלומך?",
    "ภาษาไทยไม่มีช่องว่าง",
    '{"key": [1, 2.5, null], "nested": {"a": "b"}}',
    "def f(x):\n    return x.y  # comment\n\nclass A:\n    pass\n",
    "| a | b |\n|---|---|\n| 1 | 2 |\n",
    "<html><body><p>One.</p><p>Two.</p></body></html>",
    "Dr. Smith et al. went to Washington, D.C., at 3 p.m. on Jan. 5. It cost $3.50!",
    "- one\n- two\n  - three\n\n1. first\n2. second",
    "a" * 3000,
    "word " * 700,
    "e\u0301 combining \u200b zero \ufeff width",
    "line one\r\nline two\rline three\u2028line four",
]

plain = st.text(st.characters(codec="utf-8"), max_size=200)
VOCABULARY = "the old bridge was built in 1932 by Ada near Paris and cost money"
sentence = st.lists(st.sampled_from(VOCABULARY.split(" ")), max_size=25)
prose = st.lists(sentence.map(lambda w: " ".join(w).capitalize() + ". "), max_size=12).map("".join)
texts = st.one_of(plain, prose, st.sampled_from(AWKWARD))
rates = st.floats(0.01, 1.0)
budgets = st.one_of(
    rates.map(lambda r: Budget(kind="rate", value=r)),
    st.integers(1, 400).map(lambda n: Budget(kind="tokens", value=n)),
    st.floats(0.0, 1.0).map(lambda p: Budget(kind="threshold", value=p)),
)
keeps = st.builds(
    Keep,
    strings=st.lists(st.sampled_from(["Ada", "bridge", "1932", "。"]), max_size=2),
    patterns=st.lists(st.sampled_from([r"\bP\w+", r"\d{4}", "cost"]), max_size=2),
    digits=st.booleans(),
    first_sentence=st.booleans(),
)
documents = st.lists(texts, min_size=1, max_size=5).map(
    lambda ts: [Document(id=str(i), text=t) for i, t in enumerate(ts)]
)


nothing = st.just(Keep())


@st.composite
def requests(
    draw: st.DrawFn, budget: st.SearchStrategy[Budget] = budgets, keep: st.SearchStrategy[Keep] = nothing
) -> Request:
    return Request(
        documents=draw(documents),
        budget=draw(budget),
        query=draw(st.sampled_from([None, "", "who built the bridge?", "日本語", "cost " * 300])),
        keep=draw(keep),
        unit=draw(st.sampled_from([None, "token", "word", "phrase", "edu", "sentence"])),
        scope=draw(st.sampled_from(["global", "document"])),
        order=draw(st.sampled_from(["source", "relevance", "two_stage"])),
        on_over_budget="warn",
    )
