"""The relay of one process manager: publishes the commands in its outbox, confirmed, at least once, in order within each process.

- A process's commands travel in one message at a time, up to 100, in the batch form: the next one is published after its confirm.
- A command without an outcome is sent again, under the same id, after RESEND_AFTER_S, then at doubling intervals. Sent twice, it is
  decided once, and its one outcome comes back.
- One leader at a time. One that was paused may send again what its successor has sent: see above.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg
from pydantic_core import from_json, to_json

from projectors.process_runtime.rows import CHANNEL
from shared.messages.envelope import BATCH_CONTENT_TYPE, CONTENT_TYPE, MAX_BATCH, pack
from shared.messaging import topology
from shared.messaging.broker import BrokerError, Outgoing, Publisher
from shared.processes import folder_of, source_of
from shared.runtime.failpoints import Failpoint, reached
from shared.runtime.leading import Leader
from shared.runtime.reasons import reason

READ_BATCH: Final = 2000
OVERDUE_BATCH: Final = 500
MAX_BYTES: Final = 256 * 1024
RETRY_S: Final = 0.5

OUTBOX: Final = """
SELECT seq, process, command_id, type, subject, data::text, actor, decided_at FROM commands WHERE sent_at IS NULL ORDER BY seq LIMIT $1
"""
WITHOUT_OUTCOME: Final = """
SELECT seq, process, command_id, type, subject, data::text, actor, decided_at FROM commands
WHERE resend_at <= clock_timestamp() ORDER BY resend_at LIMIT $1
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


@dataclass(slots=True)
class ProcessMessage:
    """Commands of one process that travel together."""

    process: str
    rows: list[asyncpg.Record] = field(default_factory=list)
    size: int = 2


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
            left, problem = await self._publish(connection, [*again, *rows])
        self._leader.problem = None if problem is None else f"commands cannot be published: {reason(problem)}"
        if problem is not None:
            await asyncio.sleep(RETRY_S)
        elif not left and len(rows) < READ_BATCH:
            await self._leader.notified()

    async def _publish(
        self, connection: asyncpg.Connection, rows: Sequence[asyncpg.Record]
    ) -> tuple[bool, BrokerError | None]:
        """Publish one message of each process; returns whether any commands are left, and the first error."""
        messages, left = first_messages(rows)
        results = await asyncio.gather(*(self._send(each) for each in messages), return_exceptions=True)
        sent = [row["seq"] for each, error in zip(messages, results, strict=True) if error is None for row in each.rows]
        if sent:
            reached(Failpoint.BEFORE_DELETE)
            await connection.execute(SENT, sent, self._resend_after_s)
        for error in results:
            if error is not None and not isinstance(error, BrokerError):
                raise error
        return left, next((error for error in results if isinstance(error, BrokerError)), None)

    async def _send(self, message: ProcessMessage) -> None:
        envelopes = [to_json(envelope_of(self._name, row)) for row in message.rows]
        single = len(envelopes) == 1
        await self._publisher.publish(
            Outgoing(
                topology.COMMANDS,
                message.rows[0]["type"],
                envelopes[0] if single else pack(envelopes),
                CONTENT_TYPE if single else BATCH_CONTENT_TYPE,
                type=message.rows[0]["type"] if single else None,
                correlation_id=f"{self._name}/{message.process}",
                reply_to=topology.PROCESS_REPLIES_QUEUE,
            )
        )
        reached(Failpoint.BEFORE_CONFIRM)


def first_messages(rows: Iterable[asyncpg.Record]) -> tuple[list[ProcessMessage], bool]:
    """The first message of each process, and whether rows remain for a later one."""
    messages: dict[str, ProcessMessage] = {}
    full: set[str] = set()
    left = False
    for row in rows:
        process, length = row["process"], len(row["data"]) + len(row["subject"]) + 400
        message = messages.setdefault(process, ProcessMessage(process))
        if message.rows and (len(message.rows) >= MAX_BATCH or message.size + length > MAX_BYTES):
            full.add(process)
        if process in full:
            left = True
            continue
        message.rows.append(row)
        message.size += length
    return list(messages.values()), left


def envelope_of(name: str, row: asyncpg.Record) -> dict[str, Any]:
    """The command, the same each time that it is sent."""
    return {
        "specversion": "1.0",
        "id": row["command_id"],
        "source": source_of(name),
        "type": row["type"],
        "subject": row["subject"],
        "time": row["decided_at"],
        "actor": row["actor"],
        "data": from_json(row["data"]),
    }
