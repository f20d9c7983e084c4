"""Resend: events from the event store to one projection's own lanes, because that projection asked.

    [control] resend {projection, streams: [(stream, first version) …]} ──▶ events ──▶ <projection>.lane.<n>

Confirmed before the request is acknowledged, in stream order, in pages: memory does not grow with a stream's length. Asking
twice is harmless: the projection's version gate drops what it has.
"""

import asyncio
import logging
from typing import Final

from pydantic import ValidationError
from tenacity import AsyncRetrying, retry_if_exception, retry_if_exception_type, wait_random_exponential

from command_service.packing import Row, parcels
from shared import topology
from shared.broker import BrokerError, Publisher
from shared.consuming import Consumer, Delivery
from shared.contracts.control import Request, Resend
from shared.postgres import Database, is_outage

log: Final = logging.getLogger(__name__)

PAGE: Final = 1000

# One page over all streams asked for, in (stream, version) order; the cursor is the last (stream, version) sent.
EVENTS_FROM: Final = """
SELECT e.version AS id, e.stream, e.envelope ->> 'type' AS type, e.envelope::text AS envelope
FROM unnest($1::text[], $2::bigint[]) AS wanted (stream, version)
JOIN events e ON e.stream = wanted.stream AND e.version >= wanted.version
WHERE (e.stream, e.version) > ($3, $4)
ORDER BY e.stream, e.version
LIMIT $5
"""


class Resender:
    def __init__(self, write_db_url: str, consumer: Consumer, publisher: Publisher, *, lanes: int) -> None:
        self._database = Database(write_db_url, max_size=1)
        self._consumer = consumer
        self._publisher = publisher
        self._lanes = lanes

    async def run(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            for delivery in await self._consumer.take(10, timeout=0.5):
                request = _read(delivery)
                if request is not None:
                    await self._until_sent(request)
                await self._consumer.acknowledge([delivery])

    async def close(self) -> None:
        await self._database.close()

    async def _until_sent(self, request: Resend) -> None:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(BrokerError) | retry_if_exception(is_outage),
            wait=wait_random_exponential(multiplier=0.2, max=5),
        ):
            with attempt:
                count = await self._send(request)
        log.info("sent %d events of %d streams again to %s", count, len(request.streams), request.projection)

    async def _send(self, request: Resend) -> int:
        pool = await self._database.pool()
        wanted: dict[str, int] = {}
        for item in request.streams:
            wanted[item.stream] = min(item.version, wanted.get(item.stream, item.version))
        count, stream, version = 0, "", 0
        while True:
            page = await pool.fetch(EVENTS_FROM, list(wanted), list(wanted.values()), stream, version, PAGE)
            for parcel in parcels((Row(*record) for record in page), self._lanes):
                key = topology.private_lane_key(request.projection, parcel.lane)
                await self._publisher.publish(parcel.message(key))
            count += len(page)
            if len(page) < PAGE:
                return count
            stream, version = page[-1]["stream"], page[-1]["id"]


def _read(delivery: Delivery) -> Resend | None:
    """None for what is no request: it came over a private exchange, so it is a fault of ours, said aloud and dropped."""
    try:
        request = Request[Resend].model_validate_json(delivery.body).data
    except ValidationError as error:
        log.error("an unreadable resend request was dropped: %s", error)  # noqa: TRY400 - the message is the whole story
        return None
    if request.projection not in topology.PROJECTORS:
        log.error("a resend for the unknown projection %r was dropped", request.projection)
        return None
    return request
