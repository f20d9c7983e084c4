"""``/metrics`` over HTTP, on a port and a thread of its own: no client of it can hold up the event loop.

    accept ──at most one every SPACING_S──▶ read the head, within DEADLINE_S ──▶ answer, rendered once every FRESH_S ──▶ close

Bounded by construction: one thread, one connection at a time, 4 KiB of a request, one rendering of each format that is kept. The gauges
are set by the event loop (``sampling``); rendering reads nothing else of the process.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from shared.observability.families import REGISTRY

log: Final = logging.getLogger(__name__)

TEXT: Final = ("text/plain; version=0.0.4; charset=utf-8", generate_latest)
OPEN_METRICS: Final = (openmetrics.CONTENT_TYPE_LATEST, openmetrics.generate_latest)
"""For those who accept it, as Prometheus does: it has exemplars."""
Format = tuple[str, Callable[[CollectorRegistry], bytes]]
SPACING_S: Final = 0.02
DEADLINE_S: Final = 2.0
FRESH_S: Final = 0.5
MAX_HEAD: Final = 4096
BACKLOG: Final = 16


class CannotExposeError(ValueError):
    """The address of the metrics is in use or not local; the message says which, in one line."""


class Exposition:
    """Serves ``/metrics`` on this address until the process ends. ``port`` 0: any free one, see ``address``."""

    def __init__(self, host: str, port: int) -> None:
        """Raises CannotExposeError."""
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            self._socket = socket.create_server((host, port), family=family, backlog=BACKLOG)
        except OSError as error:
            message = f"cannot serve metrics on {host} port {port}: {error.strerror or error}"
            raise CannotExposeError(message) from error
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self._rendered: dict[str, tuple[float, bytes]] = {}
        """By content type: when, and what."""
        threading.Thread(target=self._serve, name="metrics", daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                if self._socket.fileno() < 0:
                    return
                time.sleep(DEADLINE_S)  # no file descriptor is free
                continue
            with suppress(OSError), connection:
                self._answer(connection)
            time.sleep(SPACING_S)

    def _answer(self, connection: socket.socket) -> None:
        head = _head(connection)
        if not head:
            return
        method, target = (*head.split(b" ", 2), b"")[:2]
        path = target.partition(b"?")[0]
        form: Format = OPEN_METRICS if b"application/openmetrics-text" in head.lower() else TEXT
        if method not in (b"GET", b"HEAD"):
            status, body = "405 Method Not Allowed", b"only GET\n"
        elif path != b"/metrics":
            status, body = "404 Not Found", b"the metrics are at /metrics\n"
        else:
            status, body = "200 OK", self._body(form)
        lines = (
            f"HTTP/1.1 {status}",
            f"Content-Type: {form[0]}",
            f"Content-Length: {len(body)}",
            "Connection: close",
        )
        answer = "\r\n".join((*lines, "", "")).encode()
        connection.settimeout(DEADLINE_S)
        connection.sendall(answer if method == b"HEAD" else answer + body)

    def _body(self, form: Format) -> bytes:
        content_type, render = form
        now = time.monotonic()
        rendered_at, body = self._rendered.get(content_type, (float("-inf"), b""))
        if now - rendered_at >= FRESH_S:
            body = render(REGISTRY)
            self._rendered[content_type] = now, body
        return body


def _head(connection: socket.socket) -> bytes:
    """The head of a request; empty if it does not come in time, or is too long."""
    deadline, head = time.monotonic() + DEADLINE_S, b""
    while b"\r\n\r\n" not in head:
        left = deadline - time.monotonic()
        if left <= 0 or len(head) > MAX_HEAD:
            return b""
        connection.settimeout(left)
        received = connection.recv(MAX_HEAD)
        if not received:
            return b""
        head += received
    return head
