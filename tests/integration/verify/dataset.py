"""A small dataset: events in the write database, and the three read stores as their projections leave them, in a separate generation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import asyncpg
import msgspec
from redis.asyncio import Redis
from rich.console import Console

from deploy.demo.display import Display
from deploy.verify.command import verify
from deploy.verify.options import Options
from deploy.verify.report import Report
from projectors.models.analytics.store import AnalyticsStore
from projectors.models.search.store import SearchStore
from projectors.models.summary.store import SummaryStore
from projectors.stores.migrations import migrate
from projectors.stores.port import Advance, Commit, Store
from shared.contracts.accounts import UserRenamed
from shared.contracts.orders import Line
from shared.contracts.registry import EVENTS
from shared.contracts.values import EventData
from shared.messages.envelope import EventEnvelope
from shared.read_models import IN_POSTGRES
from shared.runtime.settings import Settings
from shared.views.analytics import Keys
from shared.views.generations import generation_name
from shared.views.operations import SCHEMA
from tests import shop, users
from tests.contract.read_stores import TRUNCATE

GENERATION = 77
QUICK = Options(recheck_interval_s=0.05, stalled_s=0.2, max_wait_s=5)

ADD_STREAM = """
INSERT INTO streams (stream, kind, version, state, updated_at) VALUES ($1, split_part($1, '/', 1), $2, '{}', now())
ON CONFLICT (stream) DO UPDATE SET version = excluded.version, updated_at = now()
"""
DISCARDED = """
WITH letter AS (
    INSERT INTO letters (
        origin, identity, stream, version, reason, exception, fingerprint, attempts, first_failed_at, last_failed_at,
        size, status, routing_key, content_type
    ) VALUES ($1, $4, $2, $3, 'projection-failed', '', '', 4, now(), now(), 1, 'discarded', '', '')
    RETURNING id, origin, stream, version
)
INSERT INTO audit (actor, act, reason, letter_id, details)
SELECT 'ada', 'discard', 'not needed', id, jsonb_build_object('origin', origin, 'stream', stream, 'version', version) FROM letter
"""
ADD_EVENT = "INSERT INTO events (stream, version, envelope) VALUES ($1, $2, $3::json)"


def example_events() -> Mapping[str, Sequence[EventData]]:
    """Streams and their events: several days, months and currencies; names on lines and in the catalogue; every type of event."""
    yesterday, last_month = shop.NOON - timedelta(days=1), shop.NOON - timedelta(days=40)
    dollars = shop.placed("o-2", customer_id="c-2", currency="USD", at=yesterday, region="South")
    twice = [Line(product_id="p-1", name="Plantain", quantity=1, amount=80)]
    found: dict[str, Sequence[EventData]] = {
        "products/p-1": [shop.created(), shop.repriced(), shop.received(), shop.reviewed(), shop.updated()],
        "products/p-2": [shop.created("p-2", name="Milk", price=250)],
        "customers/c-1": [shop.registered(), shop.renamed(), shop.new_email(), shop.moved()],
        "customers/c-2": [shop.registered("c-2", name="Bob")],
        "users/u-1": [users.created(), users.renamed(), users.new_email(), users.new_role(), users.deactivated()],
        "users/u-2": [users.created("u-2"), users.deactivated("u-2"), users.reactivated("u-2")],
        "orders/o-1": [shop.placed(), shop.paid(), shop.shipped(), shop.delivered()],
        "orders/o-2": [dollars, shop.cancelled(dollars)],
        "orders/o-3": [shop.placed("o-3", customer_id="c-2", lines=twice, at=last_month)],
    }
    for number in range(4, 30):
        at, lines = shop.NOON - timedelta(hours=number), [*shop.LINES, shop.line(category=f"Fruit {number % 3}")]
        found[f"orders/o-{number}"] = [shop.placed(f"o-{number}", at=at, lines=lines, region=f"R{number % 2}")]
    return found


STREAMS: Final = len(example_events())


@dataclass
class Dataset:
    settings: Settings
    write: asyncpg.Connection
    summary: asyncpg.Connection
    search: asyncpg.Connection
    operations: asyncpg.Connection
    redis: Any
    stores: Mapping[str, Store]
    keys: Keys

    async def append_events(self, streams: Mapping[str, Sequence[EventData]], *, after: int = 0) -> None:
        """Append to the event store only."""
        async with self.write.transaction():
            for stream, events in streams.items():
                await self.write.execute(ADD_STREAM, stream, after + len(events))
                for version, data in enumerate(events, after + 1):
                    await self.write.execute(ADD_EVENT, stream, version, envelope(stream, version, data))

    async def apply(self, streams: Mapping[str, Sequence[EventData]], *, after: int = 0, to: str | None = None) -> None:
        """Apply as a projector does, in one commit for each store."""
        advances = [shop.run(stream, *events, expected=after) for stream, events in streams.items()]
        for name, store in self.stores.items():
            if to in (None, name):
                await store.commit(Commit(advances))

    async def discard(self, stream: str, version: int) -> None:
        """Discard as an operator does: the projections skip the event, and its letters are discarded."""
        for name, store in self.stores.items():
            await store.commit(Commit([Advance(stream, version - 1, (), skipped=1)]))
            await self.operations.execute(DISCARDED, name, stream, version, f"{name}/{stream}@{version}".encode())

    async def verify(self, *projections: str, options: Options = QUICK, limit: int = 1000) -> Report:
        display = Display(Console(quiet=True), None)
        names = projections or tuple(self.stores)
        return await verify(self.settings, options, display, projections=names, generation=GENERATION, limit=limit)


def envelope(stream: str, version: int, data: EventData) -> str:
    kind, schema = EVENTS[type(data)]
    return (
        EventEnvelope(
            id=f"{stream}@{version}",
            source="tests",
            type=kind,
            subject=stream,
            time=shop.NOON,
            data=data,
            streamversion=version,
            schemaversion=schema,
            causationid="tests",
            correlationid="tests",
            actor=shop.ACTOR if isinstance(data, UserRenamed) else msgspec.UNSET,
        )
        .to_json()
        .decode()
    )


async def create_schemas(settings: Settings) -> None:
    """Create the schemas of the generation."""
    for model in IN_POSTGRES:
        await migrate(model.name, settings.store_url(model.name), schema=generation_name(model.name, GENERATION))


async def create_dataset(settings: Settings, write: asyncpg.Connection) -> Dataset:
    """An undamaged dataset, with open stores."""
    connections = {}
    for projector, url in (("summary", settings.store_url("summary")), ("search", settings.store_url("search"))):
        schema = generation_name(projector, GENERATION)
        connections[projector] = await asyncpg.connect(url, server_settings={"search_path": f"{schema}, public"})
    prefix = generation_name("analytics", GENERATION)
    stores: dict[str, Store] = {
        "summary": SummaryStore(settings.store_url("summary"), generation_name("summary", GENERATION)),
        "analytics": AnalyticsStore(settings.store_url("analytics"), prefix),
        "search": SearchStore(settings.store_url("search"), generation_name("search", GENERATION)),
    }
    for store in stores.values():
        await store.open()
    redis = Redis.from_url(settings.store_url("analytics"), decode_responses=True)
    operations = await asyncpg.connect(settings.operations_db_url, server_settings={"search_path": SCHEMA})
    dataset = Dataset(
        settings, write, connections["summary"], connections["search"], operations, redis, stores, Keys(prefix)
    )
    await dataset.append_events(example_events())
    await dataset.apply(example_events())
    return dataset


async def close_dataset(dataset: Dataset) -> None:
    for store in dataset.stores.values():
        await store.close()
    for name, connection in (("summary", dataset.summary), ("search", dataset.search)):
        await connection.execute(TRUNCATE[name])
        await connection.close()
    await dataset.operations.close()
    async for key in dataset.redis.scan_iter(f"{dataset.keys.prefix}:*"):
        await dataset.redis.unlink(key)
    await dataset.redis.aclose()
