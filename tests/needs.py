"""Why tests are skipped that stand on packages too large for every developer's machine: which command brings them."""

from __future__ import annotations

TORCH = "needs torch: make dev EXTRAS=dev,train"
RANK = "needs torch and transformers: make dev EXTRAS=dev,train,rank"
NEEDS_PEER = "needs torch and the llmlingua package: make dev EXTRAS=dev,train,rank MORE=llmlingua==0.2.2"
RAY = "needs Ray: make dev EXTRAS=dev,ray"
