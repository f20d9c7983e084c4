"""Free TCP ports of 127.0.0.1, always below 32768, so that no outgoing connection can occupy one.

The kernel assigns ports from 32768 upwards to outgoing connections: a server that was killed and restarts on
such a port may find it in use. This process never returns the same port twice, except to its previous user.
"""

import random
import socket
import threading

LOWEST = 20_000
HIGHEST = 32_767

_reserved: set[int] = set()
_lock = threading.Lock()


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on this port right now."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError:
        return False
    return True


def reserve(port: int) -> bool:
    """Reserve a port that its user had before; returns whether it is free. A reserved port is not returned by ``free_port``."""
    with _lock:
        free = is_free(port)
        if free:
            _reserved.add(port)
        return free


def free_port() -> int:
    """A port that was free a moment ago. Another process may take it before it is bound; then call again. Raises OSError."""
    with _lock:
        for _ in range(1_000):
            port = random.SystemRandom().randint(LOWEST, HIGHEST)
            if port not in _reserved and is_free(port):
                _reserved.add(port)
                return port
    raise OSError(f"no free port between {LOWEST} and {HIGHEST}")
