"""Addresses of HTTP services: where one that listens on a host is reached from the same machine."""

from typing import Final

_OF_EVERY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to connect to, by what is listened on


def reachable(host: str) -> str:
    """The host to connect to."""
    return _OF_EVERY_ADDRESS.get(host, host)


def authority(host: str, port: int) -> str:
    """``host:port``, an IPv6 address in brackets (RFC 3986 §3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
