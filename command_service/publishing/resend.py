"""Resend: events from the event store to one projection's own lanes, at that projection's request.

    [control] resend {projection, streams: [(stream, first version) …]} ──▶ events ──▶ <projection>.lane.<n>
    [control] heads {projection, lane, since} ──▶ the versions of the lane's streams ──▶ <projection>.lane.<n>
    [control] compare-versions {projection, streams} ──▶ those ahead of the restored database ──▶ [control] <projection>.compared

Confirmed before the request is acknowledged, in stream order, in pages: memory does not grow with a stream's length. Repeating a
request is harmless: the projection drops versions that it has. AUTOMATIC_HEADER on a request, which no operator made, is repeated on the
events. Requests are served concurrently: one for a few events does not wait for the heads of a million streams.

Heads are exact: a stream with rows in the outbox is omitted (its events are still to come), so every reported version was
confirmed by the broker before, and precedes the reply in the lane's queue, or was lost.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tenacity import AsyncRetrying, retry_if_exception, retry_if_exception_type, wait_random_exponential

from command_service.handling.decision import SOURCE
from command_service.handling.epochs import ensure_current
from command_service.measuring.event_spans import record_resent
from command_service.publishing.control_requests import read
from command_service.publishing.packing import Row, row_batches
from command_service.publishing.version_comparison import compare_versions
from shared.messages.control import COMPARED, AskHeads, CompareVersions, Request, Resend, VersionsCompared
from shared.messages.envelope import CONTENT_TYPE
from shared.messages.lanes import HEADS, Heads
from shared.messaging import topology
from shared.messaging.broker import BrokerError, Outgoing, Publisher
from shared.messaging.consuming import Consumer, Delivery
from shared.observability import metrics, tracing
from shared.runtime.failpoints import Failpoint, reached
from shared.runtime.postgres import Database, is_outage
from shared.runtime.stalls import StallDetector

log: Final = logging.getLogger(__name__)

ControlRequest = Request[Resend] | Request[AskHeads] | Request[CompareVersions]
PREFETCH: Final = 10
PAGE: Final = 1000
MIN_PER_STREAM: Final = 2
"""Minimum number of events per stream in a page: most requested streams miss one event, and a second one shows that none follows."""
CONNECTIONS: Final = 3
COMMIT_MARGIN: Final = timedelta(minutes=2)
"""A transaction may commit this long after the timestamp of its rows."""
UNIX_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# The next events of each stream, equally many of each; one index lookup per stream (LATERAL with LIMIT), whatever the planner's
# statistics: a merge join would cost as much as reading all events.
EVENTS_FROM: Final = """
SELECT e.version AS id, wanted.stream, NULL AS type, e.envelope::text AS envelope
FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS wanted (stream, version, place)
CROSS JOIN LATERAL (
    SELECT version, envelope FROM all_events AS events
    WHERE events.stream = wanted.stream AND events.version >= wanted.version
    ORDER BY version LIMIT $3
) AS e
ORDER BY wanted.place, e.version
"""
# Read once, with a cursor: pages by name would each scan the outbox again and, with outdated statistics, sort the rest.
HEADS_SINCE: Final = """
SELECT s.stream, s.version FROM streams s
WHERE s.updated_at >= $1 AND NOT EXISTS (SELECT FROM outbox o WHERE o.stream = s.stream)
"""


class Resender:
    def __init__(self, write_db_url: str, consumer: Consumer, publisher: Publisher, *, lanes: int) -> None:
        self._database = Database(write_db_url, max_size=CONNECTIONS, session={"enable_sort": "off"})
        self._consumer = consumer
        self._publisher = publisher
        self._lanes = lanes
        self._progress = StallDetector()
        self._heads_lock = asyncio.Lock()
        """Heads of several lanes are read one after another, so that connections remain for other requests."""

    @property
    def trouble(self) -> str | None:
        """The request that fails and is being retried, and why. Its duration is not limited: it depends on the request."""
        return self._progress.trouble

    async def run(self, stopping: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as serving:
            while not stopping.is_set():
                for delivery in await self._consumer.take(PREFETCH, timeout=0.5):
                    serving.create_task(self._serve(delivery))

    async def close(self) -> None:
        await self._database.close()

    async def _serve(self, delivery: Delivery) -> None:
        request = read(delivery, _shape(delivery))
        if request is not None:
            await self._until_done(request, automatic=delivery.headers.get(topology.AUTOMATIC_HEADER) is True)
        await self._consumer.acknowledge([delivery])

    async def _until_done(self, request: ControlRequest, *, automatic: bool = False) -> None:
        with self._progress.step(f"{request.type} for {request.data.projection}", takes_long=True) as step:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(BrokerError) | retry_if_exception(is_outage),
                wait=wait_random_exponential(multiplier=0.2, max=5),
                after=lambda state: step.failed(state.outcome.exception() if state.outcome else None),
            ):
                with attempt:
                    await self._handle(request, automatic=automatic)

    async def _handle(self, request: ControlRequest, *, automatic: bool) -> None:
        match request.data:
            case Resend():
                await self._resend(request.data, automatic=automatic)
            case AskHeads():
                await self._send_heads(request.id, request.data)
            case CompareVersions():
                await self._compare(request.id, request.data)

    async def _resend(self, request: Resend, *, automatic: bool) -> None:
        pool = await self._database.pool()
        wanted: dict[str, int] = {}
        for item in request.streams:
            wanted[item.stream] = min(item.version, wanted.get(item.stream, item.version))
        count, streams = 0, len(wanted)
        headers: dict[str, Any] = {topology.EPOCH_HEADER: topology.run_of(await self._epoch())}
        if automatic:
            headers[topology.AUTOMATIC_HEADER] = True
        while wanted:
            most = max(PAGE // len(wanted), MIN_PER_STREAM)
            page = await pool.fetch(EVENTS_FROM, list(wanted), list(wanted.values()), most)
            await self._publish(request.projection, [Row(*record) for record in page], headers)
            count += len(page)
            sent = Counter(row["stream"] for row in page)
            wanted = {stream: version + most for stream, version in wanted.items() if sent[stream] == most}
            if wanted:
                reached(Failpoint.BETWEEN_PAGES)
        metrics.RESENT.add(count, request.projection)
        log.info("sent %d events of %d streams again to %s", count, streams, request.projection)

    async def _publish(self, projection: str, page: Sequence[Row], headers: Mapping[str, Any]) -> None:
        """Publish, pipelined, in this order. Raises BrokerError for the first that was not confirmed."""
        began_ns = time.time_ns()
        sent = await asyncio.gather(
            *(
                self._publisher.publish(batch.message(topology.private_lane_key(projection, batch.lane), headers))
                for batch in row_batches(page, self._lanes)
            ),
            return_exceptions=True,
        )
        for error in sent:
            if error is not None:
                raise error
        if tracing.recorder is not None:
            record_resent(tracing.recorder, projection, page, began_ns)

    async def _send_heads(self, asked: str, request: AskHeads) -> None:
        pool = await self._database.pool()
        since = request.since - COMMIT_MARGIN if request.since is not None else UNIX_EPOCH
        epoch = await self._epoch()
        key = topology.private_lane_key(request.projection, request.lane)
        headers = {topology.EPOCH_HEADER: topology.run_of(epoch)}
        async with self._heads_lock, pool.acquire() as connection, connection.transaction(readonly=True):
            cursor = await connection.cursor(HEADS_SINCE, since)
            number, last = 0, False
            while not last:
                streams: list[tuple[str, int]] = []
                while len(streams) < PAGE and not last:
                    page = await cursor.fetch(PAGE)
                    last = len(page) < PAGE
                    streams += [
                        (row["stream"], row["version"])
                        for row in page
                        if topology.lane_of(row["stream"], self._lanes) == request.lane
                    ]
                heads = Heads(
                    id=f"{asked}/{number}",
                    source=SOURCE,
                    time=datetime.now(UTC),
                    lane=request.lane,
                    asked=asked,
                    streams=tuple(streams),
                    last=last,
                    epoch=epoch,
                )
                await self._publisher.publish(
                    Outgoing(
                        topology.EVENTS, key, heads.model_dump_json().encode(), CONTENT_TYPE, HEADS, headers=headers
                    )
                )
                number += 1

    async def _compare(self, asked: str, request: CompareVersions) -> None:
        pool = await self._database.pool()
        async with pool.acquire() as connection:
            found = await compare_versions(connection, request)
        if found is None:
            log.info("%s asked about an epoch that is not this database's", request.projection)
            return
        answer = Request[VersionsCompared](
            id=f"{asked}/compared", source=SOURCE, type=COMPARED, time=datetime.now(UTC), data=found
        )
        key, body = topology.compared_key(request.projection), answer.model_dump_json().encode()
        await self._publisher.publish(Outgoing(topology.CONTROL, key, body, CONTENT_TYPE, COMPARED))

    async def _epoch(self) -> str:
        pool = await self._database.pool()
        async with pool.acquire() as connection:
            return (await ensure_current(connection)).name


def _shape(delivery: Delivery) -> type[ControlRequest]:
    shapes: dict[str, type[ControlRequest]] = {
        topology.HEADS_KEY: Request[AskHeads],
        topology.COMPARE_KEY: Request[CompareVersions],
    }
    return shapes.get(delivery.routing_key, Request[Resend])
