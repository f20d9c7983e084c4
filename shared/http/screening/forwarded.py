"""The address of the client behind proxies: from ``X-Forwarded-For``, as far as trusted proxies have written it.

Each proxy appends the address of its peer. Read from the end, the first address that is not a trusted proxy's is the client's: whatever
stands before it may be invented. A peer that is not trusted is itself the client, whatever it says.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

Network = IPv4Network | IPv6Network

FOR: Final = b"x-forwarded-for"
PROTO: Final = b"x-forwarded-proto"
_SECURE: Final = {"http": "https", "ws": "wss"}


def networks(text: str) -> tuple[Network, ...]:
    """The networks in a setting, separated by commas: ``10.0.0.7``, ``10.0.0.0/8``, ``::1``. Raises ValueError."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


class TrustedProxies:
    def __init__(self, trusted: Sequence[Network] = ()) -> None:
        self._trusted = tuple(trusted)

    def resolve(self, scope: Any) -> Any:
        """The scope with the client's address and the scheme that the client has used."""
        peer = scope.get("client")
        if not self._trusted or not peer or not self._trusts(_address(peer[0])):
            return scope
        forwarded: list[str] = []
        scheme = scope["scheme"]
        for name, value in scope["headers"]:
            if name == FOR:
                forwarded += value.decode("latin-1").split(",")
            elif name == PROTO and value == b"https":
                scheme = _SECURE.get(scheme, scheme)
        return {**scope, "client": (self._client(peer[0], forwarded), 0), "scheme": scheme}

    def _client(self, peer: str, forwarded: list[str]) -> str:
        client = peer
        for text in reversed(forwarded):
            address = _address(text.strip())
            if address is None:
                break
            client = str(address)
            if not self._trusts(address):
                break
        return client

    def _trusts(self, address: IPv4Address | IPv6Address | None) -> bool:
        return address is not None and any(
            address in network for network in self._trusted if network.version == address.version
        )


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
