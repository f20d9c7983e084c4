"""What projections tell on ``changes``, heard over a queue of our own: it wakes whoever waits, and proves nothing.

News may be lost: with the connection, or because a projector died before it told. So when the connection is back everybody
looks for himself, and those who wait look now and then in any case.
"""

import asyncio
import functools
import logging
from contextlib import suppress
from typing import Any, Final

import msgspec
from pydantic import ValidationError

from query_service.http.problems import StoreDownError
from query_service.http.requests import Stores
from query_service.stores.active_generation import ActiveGeneration
from shared.messages.changes import ACTIVATED, ADVANCED, PROCESS_STATE, Activated, Advanced
from shared.messaging import topology
from shared.messaging.replies import Replies

log: Final = logging.getLogger(__name__)


class _Envelope(msgspec.Struct):
    type: str
    data: msgspec.Raw


class ChangeListener:
    """Listens until cancelled; without a URL there are no news."""

    def __init__(self, url: str, stores: Stores) -> None:
        self._stores = stores
        self._projections = {active.projection: active for active in stores.all}
        self._asking: set[asyncio.Task[None]] = set()
        for active in stores.all:
            active.switched = functools.partial(self._switched, active.projection)
        stores.news_trouble = stores.processes.listening_trouble = lambda: self.trouble
        self._replies: Replies | None = None
        if url:
            bindings = [(topology.CHANGES, topology.advanced_key(name)) for name in self._projections]
            bindings.append((topology.CHANGES, topology.process_key("*")))
            self._replies = Replies(url, self._heard, "query news", bindings=bindings, changed=self._changed)

    async def run(self) -> None:
        if self._replies is None:
            log.warning("TIDEMARK_RABBITMQ_URL is not set: those who wait for a write look for it once a second")
            await asyncio.Event().wait()
        else:
            await self._replies.run()

    @property
    def connected(self) -> bool:
        return self._stores.live.connected

    @property
    def trouble(self) -> str | None:
        """Why no news come in, where they should."""
        return None if self._replies is None else self._replies.trouble

    def _changed(self, connected: bool) -> None:
        self._stores.live.news(connected)
        self._stores.processes.listening(connected)
        if connected:
            for active in self._projections.values():
                active.forget()
                self._stores.waiting[active.projection].look_again()

    def _heard(self, body: bytes, _: str) -> None:
        try:
            envelope = msgspec.json.decode(body, type=_Envelope)
            if envelope.type == ADVANCED:
                self._advanced(Advanced.model_validate_json(bytes(envelope.data)))
            elif envelope.type == ACTIVATED:
                self._activated(Activated.model_validate_json(bytes(envelope.data)))
            elif envelope.type == PROCESS_STATE:
                self._stores.processes.handle_announcement(body)
        except (msgspec.MsgspecError, UnicodeError, ValidationError) as error:
            log.warning("unreadable news were dropped: %s", str(error)[:200])

    def _advanced(self, news: Advanced) -> None:
        active = self._projections.get(news.projection)
        if active is None:
            return
        self._stores.waiting[news.projection].advanced(news.generation, news.streams, news.held)
        if news.generation == active.number:
            self._stores.live.advanced(news.projection, news.generation, news.streams, news.held)

    def _activated(self, news: Activated) -> None:
        """The registry says it, too, and is believed."""
        if active := self._projections.get(news.projection):
            active.forget()
            asking = asyncio.create_task(_resolved(active))
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)

    def _switched(self, projection: str, generation: int) -> None:
        self._stores.live.activated(projection, generation)
        self._stores.waiting[projection].look_again()


async def _resolved(active: ActiveGeneration[Any]) -> None:
    with suppress(StoreDownError):
        await active.store()
