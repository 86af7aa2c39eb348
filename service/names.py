"""Which names the service answers to: a page that points its own name at this machine must not read what is here."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from laconic.compressors import LaconicError


class Misdirected(LaconicError):
    """The request is for a host that this service is not."""

    code, status = "misdirected_request", 421


class Names:
    """Names of `Host` that are answered: addresses and localhost always, others as listed; None answers all."""

    def __init__(self, listed: Iterable[str] | None) -> None:
        listed = None if listed is None else [name.lower() for name in listed]
        self.all = listed is None or "*" in listed
        self.exact = {name for name in listed or () if not name.startswith("*.")}
        self.under = tuple(name[1:] for name in listed or () if name.startswith("*."))

    def check(self, host: bytes | None) -> None:
        """Raises Misdirected; a request without `Host` comes from no browser."""
        if self.all or not host:
            return
        name = named(host.decode("latin-1"))
        if is_address(name) or name == "localhost" or name.endswith((".localhost", *self.under)) or name in self.exact:
            return
        raise Misdirected("this service does not answer to that name: use its address, or see --allowed-hosts")


def named(authority: str) -> str:
    """The host of `host[:port]`, in lower case and without the dot of the root; empty where it is none."""
    try:
        return (urlsplit(f"//{authority}").hostname or "").removesuffix(".") if "@" not in authority else ""
    except ValueError:
        return ""


def is_address(name: str) -> bool:
    """Whether a host is an IP address: names can be pointed elsewhere, addresses cannot."""
    try:
        ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether what listens on `host` is reached from this machine only."""
    return host == "localhost" or (is_address(host) and ip_address(host.partition("%")[0]).is_loopback)
