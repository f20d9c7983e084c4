"""Free TCP ports of 127.0.0.1, always below 32768, so that no outgoing connection can sit on one.

The kernel hands out the ports from 32768 up to outgoing connections: a server that was killed and starts again on
such a port may find it in use. A port given out here is never given out again by this process, but to its user.
"""

import random
import socket
import threading

LOWEST = 20_000
HIGHEST = 32_767

_given: set[int] = set()
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


def take(port: int) -> bool:
    """Whether this port, which its user has had before, can be had again; then it is given to nobody else."""
    with _lock:
        free = is_free(port)
        if free:
            _given.add(port)
        return free


def free_port() -> int:
    """A port that was free a moment ago; whoever binds it must be ready to lose the race and ask again."""
    with _lock:
        for _ in range(1_000):
            port = random.SystemRandom().randint(LOWEST, HIGHEST)
            if port not in _given and is_free(port):
                _given.add(port)
                return port
    raise OSError(f"no free port between {LOWEST} and {HIGHEST}")
