"""Publishes change messages about the streams that a projection has just advanced, for queries that wait: after the commit, best effort.

Messages that cannot be published soon are dropped: a waiting query then finds the change by reading the store.
"""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Final
from uuid import uuid4

from shared.messages.changes import ADVANCED, MAX_STREAMS, Advanced, AdvancedMessage
from shared.messages.envelope import CONTENT_TYPE
from shared.messaging import topology
from shared.messaging.broker import BrokerError, Outgoing, Publisher

log: Final = logging.getLogger(__name__)

MAX_PENDING: Final = 50
"""Publishes that have not finished. Beyond that the broker is slower than the projector, and messages are dropped."""
CLOSE_TIMEOUT_S: Final = 1.0


class ChangePublisher:
    def __init__(self, projection: str, publisher: Publisher, *, generation: int = 1) -> None:
        self._projection = projection
        self._generation = generation
        self._publisher = publisher
        self._pending: set[asyncio.Task[None]] = set()

    def publish(self, advanced: Mapping[str, int], held: Mapping[str, int]) -> None:
        """``advanced``: stream → version applied; ``held``: stream → version it waits for. Returns at once."""
        streams, waiting = iter(advanced.items()), iter(held.items())
        while True:
            part = Advanced(
                projection=self._projection,
                generation=self._generation,
                streams=tuple(islice(streams, MAX_STREAMS)),
                held=tuple(islice(waiting, MAX_STREAMS)),
            )
            if not (part.streams or part.held) or len(self._pending) >= MAX_PENDING:
                return
            task = asyncio.create_task(self._publish(part))
            self._pending.add(task)
            task.add_done_callback(self._pending.discard)

    async def close(self) -> None:
        """Wait for pending publishes, at most CLOSE_TIMEOUT_S."""
        if self._pending:
            await asyncio.wait(self._pending, timeout=CLOSE_TIMEOUT_S)

    async def _publish(self, advanced: Advanced) -> None:
        envelope = AdvancedMessage(
            id=f"news/{uuid4()}",
            source=f"tidemark/projectors/{self._projection}",
            type=ADVANCED,
            time=datetime.now(UTC),
            data=advanced,
        )
        message = Outgoing(
            topology.CHANGES,
            topology.advanced_key(self._projection),
            envelope.model_dump_json().encode(),
            CONTENT_TYPE,
            type=ADVANCED,
            mandatory=False,
            durable=False,
        )
        try:
            await self._publisher.publish(message)
        except BrokerError as error:
            log.debug("change messages of %s were dropped: %s", self._projection, error)
