"""The relay of one process manager: publishes the commands in its outbox, confirmed, at least once, in order within each process.

- Commands travel in the order in which they were decided, up to 100 in a message: the next message is published after the confirm of the
  one before. So the commands of a process, which are decided one after another, reach the queue in order.
- A command without an outcome is sent again, under the same id, after RESEND_AFTER_S, then at doubling intervals. Sent twice, it is
  decided once, and its one outcome comes back.
- One leader at a time. One that was paused may send again what its successor has sent: see above.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import asyncpg
from pydantic_core import from_json, to_json

from projectors.process_runtime.rows import CHANNEL
from shared.messages.envelope import BATCH_CONTENT_TYPE, CONTENT_TYPE, MAX_BATCH, pack
from shared.messaging import topology
from shared.messaging.broker import BrokerError, Outgoing, Publisher
from shared.observability.sending import command_spans
from shared.processes import folder_of, source_of
from shared.runtime.failpoints import Failpoint, reached
from shared.runtime.leading import Leader
from shared.runtime.reasons import reason

READ_BATCH: Final = 2000
OVERDUE_BATCH: Final = 500
MAX_BYTES: Final = 256 * 1024
ENVELOPE_BYTES: Final = 500
"""A command's envelope, without its data and subject."""
RETRY_S: Final = 0.5
SHORTEST_LINGER_S: Final = 0.004
LINGER_PER_ROW_S: Final = 0.0008
LONGEST_LINGER_S: Final = 0.03
"""Pause after a round that found rows, longer for more rows: under load the next round packs larger messages."""

OUTBOX: Final = """
SELECT seq, process, command_id, type, subject, data::text, actor, decided_at, traceparent
FROM commands WHERE sent_at IS NULL ORDER BY seq LIMIT $1
"""
WITHOUT_OUTCOME: Final = """
SELECT seq, process, command_id, type, subject, data::text, actor, decided_at, traceparent FROM commands
WHERE resend_at <= (SELECT clock_timestamp()) ORDER BY resend_at LIMIT $1
"""
# Locked in the order of seq, as the outcomes' transaction locks them. An outcome may have come before the confirm.
SENT: Final = """
WITH locked AS MATERIALIZED (
    SELECT seq FROM commands WHERE seq = ANY ($1::bigint[]) ORDER BY seq FOR UPDATE
)
UPDATE commands SET
    sent_at = coalesce(sent_at, clock_timestamp()), sends = sends + 1,
    resend_at = CASE WHEN outcome IS NULL THEN clock_timestamp() + $2::float8 * 2 ^ least(sends, 6) * interval '1 second' END
FROM locked WHERE commands.seq = locked.seq
"""


class CommandRelay:
    def __init__(self, name: str, url: str, publisher: Publisher, *, resend_after_s: float) -> None:
        self._name = name
        self._publisher = publisher
        self._resend_after_s = resend_after_s
        self._leader = Leader(
            url,
            lock=f"tidemark processes {name}",
            channel=CHANNEL,
            what=f"tidemark {name} commands",
            store="the process database",
            schema=folder_of(name),
        )

    @property
    def trouble(self) -> str | None:
        return self._leader.trouble

    async def run(self, stopping: asyncio.Event) -> None:
        async def begin(_: asyncpg.Connection) -> None:
            self._leader.problem = None

        await self._leader.run(stopping, begin=begin, work=self._round)

    async def _round(self, connection: asyncpg.Connection) -> None:
        self._leader.about_to_read()
        with self._leader.progress.step(f"publishing the commands of {self._name}"):
            rows = await connection.fetch(OUTBOX, READ_BATCH)
            again = await connection.fetch(WITHOUT_OUTCOME, OVERDUE_BATCH) if len(rows) < READ_BATCH else []
            problem = await self._publish(connection, [*again, *rows])
        self._leader.problem = None if problem is None else f"commands cannot be published: {reason(problem)}"
        if problem is not None:
            await asyncio.sleep(RETRY_S)
        elif not rows and not again:
            await self._leader.notified()
        elif len(rows) < READ_BATCH:
            await asyncio.sleep(min(SHORTEST_LINGER_S + LINGER_PER_ROW_S * len(rows), LONGEST_LINGER_S))

    async def _publish(self, connection: asyncpg.Connection, rows: Sequence[asyncpg.Record]) -> BrokerError | None:
        """Publish one message after another; returns the error of the first that was not published."""
        sent: list[int] = []
        problem: BrokerError | None = None
        for message in messages(rows):
            try:
                await self._send(message)
            except BrokerError as error:
                problem = error
                break
            sent += [row["seq"] for row in message]
        if sent:
            reached(Failpoint.BEFORE_DELETE)
            await connection.execute(SENT, sent, self._resend_after_s)
        return problem

    async def _send(self, rows: Sequence[asyncpg.Record]) -> None:
        with command_spans((row["command_id"], row["type"], row["traceparent"]) for row in rows) as traces:
            await self._publisher.publish(self._message(rows, traces))
        reached(Failpoint.BEFORE_CONFIRM)

    def _message(self, rows: Sequence[asyncpg.Record], traces: Mapping[str, str]) -> Outgoing:
        envelopes = [to_json(envelope_of(self._name, row, traces.get(row["command_id"]))) for row in rows]
        single = len(envelopes) == 1
        processes = {row["process"] for row in rows}
        return Outgoing(
            topology.COMMANDS,
            rows[0]["type"],
            envelopes[0] if single else pack(envelopes),
            CONTENT_TYPE if single else BATCH_CONTENT_TYPE,
            type=rows[0]["type"] if single else None,
            # Of several processes, each event has its command's id, which begins with that of the process.
            correlation_id=f"{self._name}/{processes.pop()}" if len(processes) == 1 else None,
            reply_to=topology.PROCESS_REPLIES_QUEUE,
        )


def messages(rows: Iterable[asyncpg.Record]) -> Iterator[list[asyncpg.Record]]:
    """The rows, in their order, as the contents of messages."""
    message: list[asyncpg.Record] = []
    size = 0
    for row in rows:
        length = len(row["data"]) + len(row["subject"]) + ENVELOPE_BYTES
        if message and (len(message) >= MAX_BATCH or size + length > MAX_BYTES):
            yield message
            message, size = [], 0
        message.append(row)
        size += length
    if message:
        yield message


def envelope_of(name: str, row: asyncpg.Record, traceparent: str | None = None) -> dict[str, Any]:
    """The command, the same each time that it is sent, except for its trace."""
    envelope = {
        "specversion": "1.0",
        "id": row["command_id"],
        "source": source_of(name),
        "type": row["type"],
        "subject": row["subject"],
        "time": row["decided_at"],
        "actor": row["actor"],
        "data": from_json(row["data"]),
    }
    return envelope if traceparent is None else envelope | {"traceparent": traceparent}
