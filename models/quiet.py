"""Nothing here calls home. ONNX Runtime does where it is built to: told otherwise before it is imported.

It does so on a thread that begins with the import, and for which a process made by fork waits at its end for ever.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
