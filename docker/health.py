"""Exit code 0 if the service in this container takes work: for HEALTHCHECK, standard library only.

`LACONIC_PORT` and `LACONIC_TLS_CERT` count as they do for the service; the same set as flags or in a file are not seen.
"""

import http.client
import os
import sys

SECONDS = 4  # less than the health check's own limit, so that it is this that speaks


def ready() -> str | None:
    """What is wrong, or None."""
    port = int(os.environ.get("LACONIC_PORT", "8000"))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    if os.environ.get("LACONIC_TLS_CERT"):
        import ssl  # slow to import, seldom needed

        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE  # it is ourselves we ask
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=SECONDS, context=trusting)
    try:
        connection.request("GET", "/readyz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as e:
        return f"no answer on port {port}: {e}"
    return None if status == 200 else f"/readyz answered {status}"


if __name__ == "__main__":
    sys.exit(ready())
