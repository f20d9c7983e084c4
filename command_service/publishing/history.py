"""History: all events in (stream, version) order, page by page, for one projection that rebuilds a generation.

    [control] history {projection, generation, after, limit} ──▶ begin, events, end ──▶ <projection>.history

A projection names the kinds of stream that it reads: events of other kinds are neither read nor sent, and are not counted.

Separate from resends, on its own connections, so that a rebuild delays no projection that lacks an event. A page is sent in batches, each
confirmed before the next is read, and the end marker after all of them; the request is acknowledged last. Repeating a request is harmless.
Envelopes are forwarded as stored, without parsing.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, Literal

import asyncpg
from tenacity import AsyncRetrying, retry_if_exception, retry_if_exception_type, wait_random_exponential

from command_service.handling.decision import SOURCE
from command_service.publishing.control_requests import read
from shared.messages.control import ReadHistory, Request
from shared.messages.envelope import BATCH_CONTENT_TYPE, CONTENT_TYPE, pack
from shared.messages.lanes import HISTORY_PAGE, HistoryPage
from shared.messaging import topology
from shared.messaging.broker import BrokerError, Outgoing, Publisher
from shared.messaging.consuming import Consumer
from shared.runtime.failpoints import Failpoint, reached
from shared.runtime.postgres import Database, is_outage
from shared.runtime.process import Stopped, pause
from shared.runtime.stalls import StallDetector

PREFETCH: Final = 4
PORTION: Final = 1000
"""Events read and published at once: bounds this task's memory."""

IN_KEY_ORDER: Final = {"enable_sort": "off", "enable_seqscan": "off"}
"""Session settings: with outdated statistics the planner would rather sort than merge the indexes of the hot table and of the archive."""

# The size and end of a page, from an index-only scan. Its end is the last event that exists now, if the page is not full.
PAGE_END: Final = """
SELECT clock_timestamp() AS at, count(*) AS events, (array_agg(stream))[count(*)] AS stream,
    (array_agg(version))[count(*)] AS version
FROM (
    SELECT stream, version FROM all_events
    WHERE (stream, version) > ($1, $2) AND ($4::text[] IS NULL OR split_part(stream, '/', 1) = ANY ($4))
    ORDER BY stream, version LIMIT $3
) AS page
"""
PORTION_OF_PAGE: Final = """
SELECT stream, version, envelope::text AS envelope FROM all_events
WHERE (stream, version) > ($1, $2) AND (stream, version) <= ($3, $4)
ORDER BY stream, version
LIMIT $5
"""
# The same for some kinds of stream. They are selected in the index alone, so that no row of another kind is read.
PORTION_OF_KINDS: Final = """
SELECT page.stream, page.version, events.envelope::text AS envelope
FROM (
    SELECT stream, version, archived FROM all_events
    WHERE (stream, version) > ($1, $2) AND (stream, version) <= ($3, $4) AND split_part(stream, '/', 1) = ANY ($6::text[])
    ORDER BY stream, version
    LIMIT $5
) AS page
CROSS JOIN LATERAL (
    SELECT envelope FROM all_events
    WHERE stream = page.stream AND version = page.version AND archived = page.archived OFFSET 0
) AS events
ORDER BY page.stream, page.version
"""
# Versions have no gaps.
TOTAL: Final = """
SELECT coalesce(sum(version), 0)::bigint FROM streams WHERE $1::text[] IS NULL OR kind = ANY ($1)
"""


class HistoryPublisher:
    def __init__(self, write_db_url: str, consumer: Consumer, publisher: Publisher) -> None:
        self._database = Database(write_db_url, max_size=1, session=IN_KEY_ORDER)
        self._consumer = consumer
        self._publisher = publisher
        self._progress = StallDetector()

    @property
    def trouble(self) -> str | None:
        """The page that fails and is being retried, and why."""
        return self._progress.trouble

    async def run(self, stopping: asyncio.Event) -> None:
        with suppress(Stopped):
            while not stopping.is_set():
                for delivery in await self._consumer.take(1, timeout=0.5):
                    request = read(delivery, Request[ReadHistory])
                    if request is not None:
                        await self._until_done(request, stopping)
                    await self._consumer.acknowledge([delivery])

    async def close(self) -> None:
        await self._database.close()

    async def _until_done(self, request: Request[ReadHistory], stopping: asyncio.Event) -> None:
        with self._progress.step(f"a page of history for {request.data.projection}", takes_long=True) as step:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(BrokerError) | retry_if_exception(is_outage),
                wait=wait_random_exponential(multiplier=0.2, max=5),
                sleep=partial(pause, stopping),
                after=lambda state: step.failed(state.outcome.exception() if state.outcome else None),
            ):
                with attempt:
                    await self._send_page(request.id, request.data)

    async def _send_page(self, asked: str, request: ReadHistory) -> None:
        pool = await self._database.pool()
        after = (request.after_stream, request.after_version)
        kinds = None if request.kinds is None else list(request.kinds)
        total = await pool.fetchval(TOTAL, kinds) if request.count else None
        [found] = await pool.fetch(PAGE_END, *after, request.limit, kinds)
        count, at = found["events"], found["at"]
        last = (found["stream"], found["version"]) if count else after

        def marker(place: Literal["begin", "end"], events: int) -> Outgoing:
            page = HistoryPage(
                id=f"{asked}/{place}",
                source=SOURCE,
                time=at,
                asked=asked,
                generation=request.generation,
                place=place,
                after_stream=after[0],
                after_version=after[1],
                last_stream=last[0],
                last_version=last[1],
                events=events,
                total=total,
                done=count < request.limit,
            )
            return _outgoing(request, page.model_dump_json().encode(), CONTENT_TYPE, HISTORY_PAGE)

        await self._publisher.publish(marker("begin", count))
        sent, cursor = 0, after
        while cursor != last:
            rows = await _portion(pool, cursor, last, kinds)
            await self._publish(list(_messages(request, asked, rows)))
            reached(Failpoint.BETWEEN_PORTIONS)
            sent += len(rows)
            cursor = (rows[-1]["stream"], rows[-1]["version"])
        await self._publisher.publish(marker("end", sent))

    async def _publish(self, messages: Sequence[Outgoing]) -> None:
        for outcome in await asyncio.gather(*map(self._publisher.publish, messages), return_exceptions=True):
            if outcome is not None:
                raise outcome


async def _portion(
    pool: asyncpg.Pool, cursor: tuple[str, int], last: tuple[str, int], kinds: list[str] | None
) -> list[asyncpg.Record]:
    if kinds is None:
        return list(await pool.fetch(PORTION_OF_PAGE, *cursor, *last, PORTION))
    return list(await pool.fetch(PORTION_OF_KINDS, *cursor, *last, PORTION, kinds))


def _messages(request: ReadHistory, asked: str, rows: Sequence[asyncpg.Record]) -> Iterator[Outgoing]:
    """The envelopes as batches, in order; a message holds up to 100 events or 256 KiB, of any lanes."""
    envelopes: list[bytes] = []
    size = 0
    for row in rows:
        envelope = row["envelope"].encode()
        full = len(envelopes) >= topology.MAX_EVENTS_PER_MESSAGE
        if envelopes and (full or size + len(envelope) > topology.MAX_BYTES_PER_MESSAGE):
            yield _batch(request, asked, envelopes)
            envelopes, size = [], 0
        envelopes.append(envelope)
        size += len(envelope) + 1
    if envelopes:
        yield _batch(request, asked, envelopes)


def _batch(request: ReadHistory, asked: str, envelopes: Sequence[bytes]) -> Outgoing:
    headers: dict[str, int | str] = {
        topology.GENERATION_HEADER: request.generation,
        topology.PAGE_HEADER: asked,
        topology.EVENTS_HEADER: len(envelopes),
    }
    return _outgoing(request, pack(envelopes), BATCH_CONTENT_TYPE, None, headers)


def _outgoing(
    request: ReadHistory, body: bytes, content_type: str, kind: str | None, headers: dict[str, int | str] | None = None
) -> Outgoing:
    key = topology.history_queue(request.projection)
    return Outgoing(topology.EVENTS, key, body, content_type, kind, headers=headers or {})
