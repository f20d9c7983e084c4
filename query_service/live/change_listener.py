"""Receives the projections' change messages over an exclusive queue and wakes waiting requests. The messages are hints, not proof.

A change message may be lost with the connection, or because a projector died before publishing it. So positions are loaded again
when the connection is re-established, and periodically while requests wait.
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
    """Receives change messages until cancelled; without a URL it receives none."""

    def __init__(self, url: str, stores: Stores) -> None:
        self._stores = stores
        self._projections = {active.projection: active for active in stores.all}
        self._refreshing: set[asyncio.Task[None]] = set()
        for active in stores.all:
            active.switched = functools.partial(self._switched, active.projection)
        stores.changes_trouble = stores.processes.listening_trouble = lambda: self.trouble
        self._replies: Replies | None = None
        if url:
            bindings = [(topology.CHANGES, topology.advanced_key(name)) for name in self._projections]
            bindings.append((topology.CHANGES, topology.process_key("*")))
            self._replies = Replies(
                url, self._handle_message, "query changes", bindings=bindings, changed=self._connection_changed
            )

    async def run(self) -> None:
        if self._replies is None:
            log.warning("TIDEMARK_RABBITMQ_URL is not set: requests that wait for a write check for it once a second")
            await asyncio.Event().wait()
        else:
            await self._replies.run()

    @property
    def connected(self) -> bool:
        return self._stores.broadcast.connected

    @property
    def trouble(self) -> str | None:
        """Why no change messages are received; None if they are, or without a URL."""
        return None if self._replies is None else self._replies.trouble

    def _connection_changed(self, connected: bool) -> None:
        self._stores.broadcast.set_connected(connected)
        self._stores.processes.listening(connected)
        if connected:
            for active in self._projections.values():
                active.forget()
                self._stores.waiting[active.projection].reload_positions()

    def _handle_message(self, body: bytes, _: str) -> None:
        try:
            envelope = msgspec.json.decode(body, type=_Envelope)
            if envelope.type == ADVANCED:
                self._advanced(Advanced.model_validate_json(bytes(envelope.data)))
            elif envelope.type == ACTIVATED:
                self._activated(Activated.model_validate_json(bytes(envelope.data)))
            elif envelope.type == PROCESS_STATE:
                self._stores.processes.handle_announcement(body)
        except (msgspec.MsgspecError, UnicodeError, ValidationError) as error:
            log.warning("an unreadable change message was dropped: %s", error)

    def _advanced(self, message: Advanced) -> None:
        active = self._projections.get(message.projection)
        if active is None:
            return
        self._stores.waiting[message.projection].advanced(message.generation, message.streams, message.held)
        if message.generation == active.number:
            self._stores.answers.changed(message.projection, [stream for stream, _ in message.streams])
            self._stores.broadcast.advanced(message.projection, message.generation, message.streams, message.held)

    def _activated(self, message: Activated) -> None:
        """Read the registry again: it is authoritative, not the message."""
        if active := self._projections.get(message.projection):
            active.forget()
            refreshing = asyncio.create_task(_refresh(active))
            self._refreshing.add(refreshing)
            refreshing.add_done_callback(self._refreshing.discard)

    def _switched(self, projection: str, generation: int) -> None:
        self._stores.answers.clear(projection)
        self._stores.broadcast.activated(projection, generation)
        self._stores.waiting[projection].reload_positions()


async def _refresh(active: ActiveGeneration[Any]) -> None:
    with suppress(StoreDownError):
        await active.store()
