"""A dead-letter worker under test with its environment: the queues are real, the projection and the command service are simulated."""

import asyncio
import gc
import json
import time
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import aio_pika
import asyncpg

from projectors.dead_letters import outage
from projectors.dead_letters.inbox import QUEUES, Inbox
from projectors.dead_letters.replaying.engine import ReplayEngine, Timing
from projectors.dead_letters.sealing import Sealing
from shared.messages.control import PASSED, Passed, PassedEvent, Request
from shared.messages.envelope import CONTENT_TYPE
from shared.messaging import topology
from shared.messaging.broker import Outgoing, Publisher
from shared.messaging.consuming import Consumer, Delivery
from shared.privacy.command_bodies import opened_command, subject_of_command
from shared.privacy.key_database import KeyDatabase
from shared.runtime.postgres import Database
from shared.runtime.settings import Settings
from shared.views.operations import SCHEMA

Headers = dict[str, Any]
FAST = Timing(inquire_every=0.3, resend_every=2, give_up_after=6, check_every=0.5, settle_after=0.3)


@dataclass
class Worker:
    """One run of the worker; ``kill`` ends it at any point."""

    tasks: list[asyncio.Task[None]]
    database: Database
    engine: ReplayEngine
    publisher: Publisher
    consumer: Consumer

    async def kill(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.database.close()
        await self.engine.close()
        await self.publisher.close()
        with warnings.catch_warnings():
            # A client killed while connecting leaves an unawaited coroutine, which is not a fault of the code under test.
            warnings.simplefilter("ignore")
            gc.collect()


JOB = """
SELECT jobs.*, counted.* FROM jobs CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE status = 'sent') AS counted_under_way,
        count(*) FILTER (WHERE status = 'succeeded') AS counted_succeeded,
        count(*) FILTER (WHERE status = 'failed') AS counted_failed,
        count(*) FILTER (WHERE status = 'skipped') AS counted_skipped, count(*) AS counted_total
    FROM job_items WHERE job_id = jobs.id
) AS counted WHERE id = $1
"""
"""In one statement, so that a job which is still being answered is read at one moment."""


@dataclass
class Harness:
    settings: Settings
    db: asyncpg.Connection
    broken: set[tuple[str, int]] = field(default_factory=set)
    """Events that always fail."""
    mute: bool = False
    """Whether the projection publishes no progress messages."""
    held: dict[tuple[str, int], int] = field(default_factory=dict)
    """Dead events of the projection, with their attempts."""
    resent: Counter[tuple[str, int]] = field(default_factory=Counter)
    resends: list[tuple[float, int]] = field(default_factory=list)
    """When a resend was requested, and for how many streams."""
    commands: list[Delivery] = field(default_factory=list)
    refuse_commands: bool = False
    stepped_over: list[tuple[str, int]] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    _simulated: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.publisher = Publisher(self.settings.rabbitmq_url, "test")
        self.keys = KeyDatabase(self.settings.keys_db_url)

    async def start(self, *, url: str | None = None, timing: Timing = FAST) -> Worker:
        """Start a worker with its own connections; ``url``: of the operations database, if not the default."""
        url = url or self.settings.operations_db_url
        consumer = Consumer(self.settings.rabbitmq_url, QUEUES, prefetch=200, name="test")
        publisher = Publisher(self.settings.rabbitmq_url, "test worker")
        database = Database(url, schema=SCHEMA)
        stopping = asyncio.Event()
        engine = ReplayEngine(url, SCHEMA, publisher, outage.retry(stopping), timing=timing)
        inbox = Inbox(consumer, database, publisher, outage.retry(stopping), Sealing(self.keys), on_change=engine.wake)
        runs: list[Awaitable[None]] = [consumer.run(), inbox.run(stopping), engine.run(stopping)]
        worker = Worker([asyncio.ensure_future(run) for run in runs], database, engine, publisher, consumer)
        self.workers.append(worker)
        return worker

    async def play(self) -> None:
        """Start the simulated projection and command service."""
        queues = [topology.RESEND_QUEUE, topology.control_queue("summary"), topology.COMMAND_QUEUE]
        consumer = Consumer(self.settings.rabbitmq_url, queues, prefetch=100, name="played")
        self._simulated += [asyncio.create_task(consumer.run()), asyncio.create_task(self._play(consumer))]

    async def close(self) -> None:
        for worker in self.workers:
            await worker.kill()
        await self.keys.close()
        for task in self._simulated:
            task.cancel()
        await asyncio.gather(*self._simulated, return_exceptions=True)
        await self.publisher.close()

    async def die(self, stream: str, version: int = 1, *, message: str = "boom", **headers: Any) -> Headers:
        """The projection dead-letters an event; publishes the letter as a projector does."""
        key = (stream, version)
        self.held[key] = self.held.get(key, 3) + 1
        now = datetime.now(UTC).isoformat()
        given = {
            "tidemark-origin": "summary",
            "tidemark-reason": "projection-failed",
            "tidemark-exception": f"ValueError: {message}",
            "tidemark-fingerprint": f"ValueError|projection.py:fold|{message}",
            "tidemark-trace": "Traceback …",
            "tidemark-failed-at": now,
            "tidemark-first-failed-at": now,
            "tidemark-stream": stream,
            "tidemark-version": version,
            "tidemark-attempts": self.held[key],
            "tidemark-seen": version + 2,
        } | headers
        await self.letter("summary", event(stream, version), given)
        return given

    async def letter(self, origin: str, body: bytes, headers: Headers, **properties: Any) -> None:
        await self.publisher.publish(Outgoing(topology.DEAD, origin, body, CONTENT_TYPE, headers=headers, **properties))

    async def command_dies(self, command_id: str, data: dict[str, Any] | None = None, **properties: Any) -> None:
        await self.letter("commands", command(command_id, data), command_headers(), **properties)

    async def opened(self, command: dict[str, Any]) -> dict[str, Any]:
        """A command's data, with its personal texts in clear."""
        subject = subject_of_command(command)
        keys = await self.keys.keys(set() if subject is None else {subject})
        data: dict[str, Any] = opened_command(command, subject, keys)["data"]
        return data

    async def passed(self, *keys: tuple[str, int], how: str = "applied") -> None:
        events = [PassedEvent.model_validate({"stream": s, "version": v, "how": how}) for s, v in keys]
        message = Request[Passed](
            id=str(uuid4()),
            source="test",
            type=PASSED,
            time=datetime.now(UTC),
            data=Passed(projection="summary", events=tuple(events)),
        )
        body = message.model_dump_json().encode()
        await self.publisher.publish(Outgoing(topology.CHANGES, topology.passed_key("summary"), body, CONTENT_TYPE))

    async def ask(self, verb: str, *, request_id: str | None = None, **data: Any) -> dict[str, Any]:
        """An operator's request; returns the data of the answer, with its ``type``."""
        return await self.ask_raw(verb, self.request(verb, request_id=request_id, **data))

    def request(self, verb: str, *, request_id: str | None = None, **data: Any) -> bytes:
        return json.dumps(
            {
                "specversion": "1.0",
                "id": request_id or str(uuid4()),
                "source": "test",
                "type": f"control.{verb}",
                "time": datetime.now(UTC).isoformat(),
                "data": {"actor": "ann"} | data,
            }
        ).encode()

    async def ask_raw(self, verb: str, body: bytes) -> dict[str, Any]:
        connection = await aio_pika.connect(self.settings.rabbitmq_url)
        async with connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(exclusive=True)
            await queue.bind(topology.REPLIES, queue.name)
            message = aio_pika.Message(body, reply_to=queue.name, correlation_id="c-1")
            exchange = await channel.get_exchange(topology.CONTROL, ensure=False)
            await exchange.publish(message, verb)
            async with asyncio.timeout(30):
                async with queue.iterator(no_ack=True) as replies:
                    reply = await anext(replies)
        assert reply.correlation_id == "c-1"
        answer = json.loads(reply.body)
        return {"type": answer["type"], "envelope_id": answer["id"], **answer["data"]}

    async def until(self, wanted: Callable[[], Awaitable[bool]], seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not await wanted():
            assert time.monotonic() < end, await self.picture()
            await asyncio.sleep(0.03)

    async def statuses(self, count: int | None = None, **expected: int) -> None:
        """Wait until the number of letters in each status is as expected (``count``: and in total)."""

        async def there() -> bool:
            rows = await self.db.fetch("SELECT status, count(*) AS n FROM letters GROUP BY status")
            found = {row["status"]: row["n"] for row in rows}
            return all(found.get(name, 0) == n for name, n in expected.items()) and (
                count is None or sum(found.values()) == count
            )

        await self.until(there)

    async def job(self, job_id: int, state: str, seconds: float = 30) -> asyncpg.Record:
        """Wait until the job is in that state; returns it."""

        async def there() -> bool:
            return bool(await self.db.fetchval("SELECT state = $2 FROM jobs WHERE id = $1", job_id, state))

        await self.until(there, seconds)
        row = await self.db.fetchrow(JOB, job_id)
        assert row is not None
        counts = {name: row[name] for name in ("under_way", "succeeded", "failed", "skipped", "total")}
        assert {name: row[f"counted_{name}"] for name in counts} == counts
        return row

    async def picture(self) -> str:
        letters = await self.db.fetch("SELECT status, resolution, count(*) FROM letters GROUP BY 1, 2")
        jobs = await self.db.fetch("SELECT * FROM jobs")
        return f"letters {[tuple(row) for row in letters]} jobs {[dict(row) for row in jobs]}"

    async def _play(self, consumer: Consumer) -> None:
        while True:
            for delivery in await consumer.take(100, timeout=0.5):
                await self._answer(delivery)
                await consumer.acknowledge([delivery])

    async def _answer(self, delivery: Delivery) -> None:
        if delivery.queue == topology.COMMAND_QUEUE:
            self.commands.append(delivery)
            if self.refuse_commands:
                await self.letter("commands", delivery.body, command_headers())
            return
        request = json.loads(delivery.body)
        data = request["data"]
        match request["type"]:
            case "control.resend":
                self.resends.append((time.monotonic(), len(data["streams"])))
                await self._resent([(item["stream"], item["version"]) for item in data["streams"]])
            case "control.inquire":
                asked = [(item["stream"], item["version"]) for item in data["events"]]
                await self._report_passed(*(key for key in asked if key not in self.held))
            case "control.step-over":
                key = (data["stream"], data["version"])
                self.stepped_over.append(key)
                self.held.pop(key, None)
                await self.passed(key, how="discarded")

    async def _resent(self, keys: list[tuple[str, int]]) -> None:
        self.resent.update(keys)
        for stream, version in keys:
            if (stream, version) in self.broken:
                await self.die(stream, version)
        cured = [key for key in keys if key not in self.broken and self.held.pop(key, None) is not None]
        await self._report_passed(*cured)

    async def _report_passed(self, *keys: tuple[str, int]) -> None:
        if keys and not self.mute:
            await self.passed(*keys)


def event(stream: str, version: int) -> bytes:
    envelope = {
        "specversion": "1.0",
        "id": f"{stream}@{version}",
        "source": "test",
        "type": "orders.order-placed",
        "subject": stream,
        "time": "2026-03-01T09:30:00Z",
        "data": {"order_id": stream},
        "streamversion": version,
        "schemaversion": 1,
        "causationid": "c",
        "correlationid": "c",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    return json.dumps(envelope).encode()


def command(command_id: str, data: dict[str, Any] | None = None) -> bytes:
    envelope = {
        "specversion": "1.0",
        "id": command_id,
        "source": "shop",
        "type": "customers.rename-customer",
        "subject": "c1",
        "data": data or {"name": "Ann"},
    }
    return json.dumps(envelope).encode()


def command_headers() -> Headers:
    return {
        "tidemark-reason": "handler-failed",
        "tidemark-message": "column 7 is missing",
        "tidemark-origin": "commands",
        "tidemark-routing-key": "customers.rename-customer",
        "tidemark-reply-to": "reply.shop",
        "tidemark-exception": "UndefinedColumnError",
        "tidemark-trace": 'Traceback\n  File "/srv/command_service/handling.py", line 7, in _unit\n    …',
        "tidemark-failed-at": datetime.now(UTC).isoformat(),
    }
