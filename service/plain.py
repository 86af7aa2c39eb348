"""What a tenant is told of a failure: the names of files, never where they lie. The log has the paths."""

from __future__ import annotations

import re

# at least two steps from the root of a file system, or a drive of Windows: `/docs`, URLs and and/or are none
_PATH = re.compile(r"(?<![\w.:/\\])(?:[A-Za-z]:[\\/]|/)(?:[^\s/\\'\"<>|:;,()]+[\\/])+([^\s/\\'\"<>|:;,()]*)")


def names_only(text: str) -> str:
    """The text with every absolute path reduced to its last name."""
    return _PATH.sub(lambda found: found[1] or "a folder", text)
