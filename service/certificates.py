"""The TLS certificate, read again when its files change; a pair that does not work leaves the last good one."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from .settings import SettingsError

log = logging.getLogger("laconic")
ENCRYPTED = "the key is encrypted"


class Certificates:
    """`context` serves what the files held when they were last good together."""

    def __init__(self, context: ssl.SSLContext, certificate: Path, key: Path) -> None:
        self.context, self.certificate, self.key = context, certificate, key
        self._stamp = self._mark()

    def look(self, *, anyway: bool = False) -> None:
        """Load the pair if a file has changed, or `anyway`; connections that are open keep what they have."""
        stamp = self._mark()
        if stamp == self._stamp and not anyway:
            return
        self._stamp = stamp
        try:
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # half a pair would spoil the one that serves
            self._load(self.context)
            log.info("read the TLS certificate again")
        except OSError as e:  # ssl.SSLError is one
            log.error("the last good TLS certificate stays: %s", why(e))

    def _load(self, context: ssl.SSLContext) -> None:
        context.load_cert_chain(self.certificate, self.key, password=no_password)

    def _mark(self) -> list[tuple[int, int, int] | None]:
        return [mark(self.certificate), mark(self.key)]


def check(certificate: Path, key: Path) -> None:
    """Whether the two can be served, before anything listens; raises SettingsError."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=no_password)
    except OSError as e:
        raise SettingsError(f"setting tls_cert, tls_key: {why(e)}") from None


def why(error: OSError) -> str:
    """What is wrong with a pair, in words; OpenSSL has its own."""
    if not isinstance(error, ssl.SSLError):
        return error.strerror or type(error).__name__
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return "the key is another certificate's"
    return "the key is encrypted" if ENCRYPTED in error.args else "not a certificate chain and its key, both in PEM"


def mark(path: Path) -> tuple[int, int, int] | None:
    """What changes with a file; None for one that is away."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def no_password() -> str:
    """For an encrypted key: OpenSSL would ask the terminal, and everybody would wait."""
    raise ssl.SSLError(ENCRYPTED)
