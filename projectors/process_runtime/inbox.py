"""Consumes what comes for the process managers besides events: outcomes of their commands, and operators' requests.

    replies.processes ──▶ outcomes: inputs of their processes ──committed──▶ acknowledge
    control.processes ──▶ requests (``acts``) ──committed──▶ answer, audit ──confirmed──▶ acknowledge

While the process database is unavailable nothing is acknowledged, and the queues keep all messages.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Final

from projectors.process_runtime import acts
from projectors.process_runtime.outcomes import by_source, outcomes_in, receive
from projectors.process_runtime.store import ProcessStore
from projectors.stores.port import StoreUnavailableError
from shared.messages.outcomes import OutcomeEnvelope
from shared.messaging import topology
from shared.messaging.broker import Publisher
from shared.messaging.consuming import Consumer, Delivery
from shared.processes import source_of
from shared.runtime.failpoints import Failpoint, reached
from shared.runtime.outage import OutageRetry
from shared.runtime.process import Stopped

log: Final = logging.getLogger(__name__)

QUEUES: Final = (topology.PROCESS_REPLIES_QUEUE, topology.PROCESS_REQUESTS_QUEUE)
PREFETCH: Final = 200
TAKE_LIMIT: Final = 100


class Inbox:
    def __init__(
        self, stores: Mapping[str, ProcessStore], consumer: Consumer, publisher: Publisher, outages: OutageRetry
    ) -> None:
        """``stores``: by the names of the process managers."""
        self._stores = stores
        self._by_source = {source_of(name): store for name, store in stores.items()}
        self._consumer = consumer
        self._publisher = publisher
        self._outages = outages

    async def run(self, stopping: asyncio.Event) -> None:
        """Until stopped; raises Stopped."""
        while not stopping.is_set():
            deliveries = await self._consumer.take(TAKE_LIMIT, timeout=0.5)
            replies = [each for each in deliveries if each.queue == topology.PROCESS_REPLIES_QUEUE]
            if replies:
                await self._handle_replies(replies)
            for each in deliveries:
                if each.queue == topology.PROCESS_REQUESTS_QUEUE:
                    await self._handle_request(each)

    async def _handle_replies(self, deliveries: Sequence[Delivery]) -> None:
        outcomes = [outcome for delivery in deliveries for outcome in outcomes_in(delivery.body)]
        for source, of_manager in by_source(outcomes).items():
            store = self._by_source.get(source)
            if store is None:
                log.warning("%d outcomes are for %s, which is not here: dropped", len(of_manager), source)
            else:
                await self._receive(store, of_manager)
        reached(Failpoint.BEFORE_ACK)
        await self._consumer.acknowledge(deliveries)

    async def _receive(self, store: ProcessStore, outcomes: Sequence[OutcomeEnvelope]) -> None:
        """Together, or if the database rejects one of them, one by one. One that it rejects is dropped: its command is sent again."""
        try:
            await self._outages.until_up(lambda: receive(store, outcomes), what="outcomes of commands")
        except (Stopped, StoreUnavailableError):
            raise
        except Exception:
            if len(outcomes) == 1:
                log.exception("the outcome %s cannot be recorded", outcomes[0].id)
                return
            for outcome in outcomes:
                await self._receive(store, [outcome])

    async def _handle_request(self, delivery: Delivery) -> None:
        outgoing = await self._outages.until_up(
            lambda: acts.execute(self._stores, delivery), what="operators' requests"
        )
        await self._publisher.publish_all(outgoing, sleep=self._outages.pause)
        await self._consumer.acknowledge([delivery])
