"""Telling a reader what happens until he leaves, or the process stops: the same for every way of sending."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, Generic, Protocol, TypeVar

from query_service.live import updates
from query_service.live.broadcast import Broadcast, Received
from query_service.live.updates import READY, RESET, Filter, Update

KEEP_ALIVE_S: Final = 15.0
AT_ONCE: Final = 200
"""Updates in one write: what a reader who does not read keeps waiting beyond his queue."""
NO_NEWS: Final = "no news come from the projections at the moment; when they do again, there will be a reset"
NEWS_ARE_BACK: Final = "news come again"

Message = TypeVar("Message")
Said = TypeVar("Said", covariant=True)


class Form(Protocol[Said]):
    """How things are said over one kind of connection."""

    def update(self, update: Update) -> Said: ...

    def event(self, event: str, id_: str | None, data: object) -> Said: ...

    def comment(self, text: str) -> Said: ...


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
        live: Broadcast,
        form: Form[Message],
        *,
        send: Callable[[Sequence[Message]], Awaitable[None]],
        gone: Callable[[], Awaitable[None]],
    ) -> None:
        """``gone`` returns when the reader has left."""
        self._live = live
        self._form = form
        self._send = send
        self._gone = gone

    async def tell(self, wanted: Filter, last_id: str | None) -> bool:
        """Return when the reader has left (True), or the process stops."""
        reader = self._live.subscribe(wanted, last_id)
        leaving = asyncio.ensure_future(self._gone())
        leaving.add_done_callback(lambda _: reader.end())
        try:
            # Who goes on from an id keeps it until something newer comes.
            connected = self._live.connected
            beginning = [self._form.event(READY, None if last_id else self._live.head, {"news": connected})]
            if not connected:
                beginning.append(self._form.comment(NO_NEWS))
            await self._send(beginning)
            while (taken := await reader.take(KEEP_ALIVE_S)) is not None:
                for messages in self._said(taken):
                    await self._send(messages)
            return leaving.done()
        finally:
            self._live.leave(wanted, reader)
            leaving.cancel()

    def _said(self, taken: Received) -> Iterator[list[Message]]:
        first: list[Message] = []
        if taken.connected is not None:
            first.append(self._form.comment(NEWS_ARE_BACK if taken.connected else NO_NEWS))
        if taken.reset_id is not None:
            first.append(self._form.event(RESET, taken.reset_id, {}))
        if not (first or taken.updates):
            first.append(self._form.comment("keep-alive"))
        if first:
            yield first
        for start in range(0, len(taken.updates), AT_ONCE):
            yield [self._form.update(update) for update in taken.updates[start : start + AT_ONCE]]
