"""Sends updates to one reader until it disconnects, may read no longer, or the process stops; independent of the transport."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, Generic, Protocol, TypeVar

from query_service.live import updates
from query_service.live.broadcast import Broadcast, Received
from query_service.live.updates import READY, RESET, Filter, Update

KEEP_ALIVE_S: Final = 15.0
MAX_PER_WRITE: Final = 200
"""Maximum updates in one write, which a slow reader keeps in memory in addition to its queue."""
CHANGES_UNAVAILABLE: Final = "no change messages are received from the projections; a reset follows when they are again"
CHANGES_RESUMED: Final = "change messages are received again"

Message = TypeVar("Message")
Encoded = TypeVar("Encoded", covariant=True)


class Encoding(Protocol[Encoded]):
    """How updates are encoded for one kind of connection."""

    def update(self, update: Update) -> Encoded: ...

    def event(self, event: str, id_: str | None, data: object) -> Encoded: ...

    def comment(self, text: str) -> Encoded: ...


class ServerSentEvents:
    def update(self, update: Update) -> bytes:
        return update.sse

    def event(self, event: str, id_: str | None, data: object) -> bytes:
        return updates.sse(event, data, id_)

    def comment(self, text: str) -> bytes:
        return f": {text}\n\n".encode()


class JsonMessages:
    def update(self, update: Update) -> str:
        return update.json

    def event(self, event: str, id_: str | None, data: object) -> str:
        return updates.json(event, data, id_)

    def comment(self, text: str) -> str:
        return updates.json("comment", text, None)


class StreamSession(Generic[Message]):
    def __init__(
        self,
        broadcast: Broadcast,
        encoding: Encoding[Message],
        *,
        send: Callable[[Sequence[Message]], Awaitable[None]],
        disconnected: Callable[[], Awaitable[None]],
        allowed: Callable[[], Awaitable[bool]],
    ) -> None:
        """``disconnected`` returns when the reader has disconnected; ``allowed``: whether it may read now, asked every KEEP_ALIVE_S."""
        self._broadcast = broadcast
        self._encoding = encoding
        self._send = send
        self._disconnected = disconnected
        self._allowed = allowed

    async def run(self, wanted: Filter, last_id: str | None) -> bool:
        """Send updates. Returns True when the reader has disconnected, False when the process stops, or the reader may read no longer."""
        reader = self._broadcast.subscribe(wanted, last_id)
        disconnecting = asyncio.ensure_future(self._disconnected())
        disconnecting.add_done_callback(lambda _: reader.end())
        try:
            # A reader that resumes from an id keeps it until a newer update arrives.
            connected = self._broadcast.connected
            beginning = [self._encoding.event(READY, None if last_id else self._broadcast.head, {"news": connected})]
            if not connected:
                beginning.append(self._encoding.comment(CHANGES_UNAVAILABLE))
            await self._send(beginning)
            clock = asyncio.get_running_loop().time
            checked_at = clock()
            while (received := await reader.take(KEEP_ALIVE_S)) is not None:
                if clock() - checked_at >= KEEP_ALIVE_S * 0.9:
                    if not await self._allowed():
                        return False
                    checked_at = clock()
                for messages in self._messages(received):
                    await self._send(messages)
            return disconnecting.done()
        finally:
            self._broadcast.unsubscribe(wanted, reader)
            disconnecting.cancel()

    def _messages(self, received: Received) -> Iterator[list[Message]]:
        first: list[Message] = []
        if received.connected is not None:
            first.append(self._encoding.comment(CHANGES_RESUMED if received.connected else CHANGES_UNAVAILABLE))
        if received.reset_id is not None:
            first.append(self._encoding.event(RESET, received.reset_id, {}))
        if not (first or received.updates):
            first.append(self._encoding.comment("keep-alive"))
        if first:
            yield first
        for start in range(0, len(received.updates), MAX_PER_WRITE):
            yield [self._encoding.update(update) for update in received.updates[start : start + MAX_PER_WRITE]]
