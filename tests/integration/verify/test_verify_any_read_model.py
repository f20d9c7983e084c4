"""A read model in PostgreSQL needs only a line in the list and a folder to be verified and compared."""

import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from deploy.compare.stores import PostgresReadStore
from deploy.verify.findings import Kind
from deploy.verify.models import NoFiguresError
from projectors.stores.folding import each_event
from projectors.stores.migrations import files
from projectors.stores.port import Advance, Event
from projectors.stores.tables import Table, tables_of
from shared import read_models
from shared.read_models import ReadModel, StoreKind, UnknownReadModelError
from shared.runtime.postgres import migrate
from tests import shop
from tests.integration.verify.dataset import GENERATION, STREAMS, Dataset

NAME = "notes"
SCHEMAS = (f"{NAME}_{GENERATION}", f"{NAME}_78")
TABLES = """
CREATE TABLE "Every ""note" (
    "Whose" text NOT NULL,
    number bigint NOT NULL,
    "The Text" json NOT NULL,
    first_seen timestamptz,
    length bigint,
    characters bigint,
    PRIMARY KEY ("Whose", number)
);
CREATE TABLE latest (stream text PRIMARY KEY, type text NOT NULL);
"""
WRITE = 'INSERT INTO "Every ""note" VALUES ($1, $2, $3::json, $4, $5, NULL)'
WRITE_LATEST = "INSERT INTO latest VALUES ($1, $2) ON CONFLICT (stream) DO UPDATE SET type = excluded.type"
ADVANCE = "INSERT INTO positions VALUES ($1, $2)"


def fold(advances: Sequence[Advance]) -> list[Event]:
    found: list[Event] = []
    each_event(advances, found.append)
    return found


def notes(events: list[Event]) -> list[Mapping[str, Any]]:
    return [
        {
            "Whose": event.stream.removeprefix("orders/"),
            "number": event.version,
            "The Text": {"type": event.type},
            "length": len(event.type),
            "characters": None,
        }
        for event in events
        if event.stream.startswith("orders/")
    ]


NOTES = Table[list[Event]](
    name='Every "note',
    columns=("Whose", "number", "The Text", "first_seen", "length", "characters"),
    key=("Whose", "number"),
    stream="Whose",
    kind="orders",
    rows=notes,
    json=("The Text",),
    unverified={"first_seen": "the clock's time"},
    replaces={"length": "characters"},
)
LATEST = Table[list[Event]](
    name="latest",
    columns=("stream", "type"),
    key=("stream",),
    stream="stream",
    kind=None,
    rows=lambda events: [
        {"stream": stream, "type": kind} for stream, kind in {event.stream: event.type for event in events}.items()
    ],
)


@pytest.fixture
async def notes_connection(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncpg.Connection]:
    """Two generations of the read model, as its store would have left them."""
    model = ReadModel(NAME, StoreKind.POSTGRES, ("orders", "products", "customers"))
    monkeypatch.setitem(read_models._BY_NAME, NAME, model)
    folder = f"projectors.models.{NAME}"
    monkeypatch.setitem(sys.modules, f"{folder}.projection", SimpleNamespace(fold=fold))
    monkeypatch.setitem(sys.modules, f"{folder}.tables", SimpleNamespace(TABLES=(NOTES, LATEST)))
    url = dataset.settings.store_url("summary")
    monkeypatch.setattr(type(dataset.settings), "store_url", lambda settings, name: url)
    connection = await asyncpg.connect(url)
    for schema in SCHEMAS:
        await migrate(url, files(NAME), schema=schema)
        await connection.execute(f"SET search_path = {schema}")
        await connection.execute(TABLES)
        for stream, version in await dataset.write.fetch("SELECT stream, version FROM streams"):
            await connection.execute(ADVANCE, stream, version)
        for stream, version, kind in await dataset.write.fetch(
            "SELECT stream, version, envelope->>'type' FROM events ORDER BY version"
        ):
            if stream.startswith("orders/"):
                text = f'{{ "type":"{kind}" }}'
                await connection.execute(WRITE, stream.removeprefix("orders/"), version, text, shop.NOON, len(kind))
            await connection.execute(WRITE_LATEST, stream, kind)
    await connection.execute(f"SET search_path = {SCHEMAS[0]}")
    yield connection
    for schema in SCHEMAS:
        await connection.execute(f"DROP SCHEMA {schema} CASCADE")
    await connection.close()


async def test_it_is_verified_by_its_descriptors(dataset: Dataset, notes_connection: asyncpg.Connection) -> None:
    report = await dataset.verify(NAME)
    assert report.equal, report.findings
    assert report.tally.compared == STREAMS
    for damage in (
        """UPDATE "Every ""note" SET "The Text" = '{"type": 1}' WHERE "Whose" = 'o-1' AND number = 3""",
        """UPDATE "Every ""note" SET length = NULL, characters = 7 WHERE "Whose" = 'o-2'""",
        """UPDATE "Every ""note" SET first_seen = NULL WHERE "Whose" = 'o-3'""",
        """UPDATE "Every ""note" SET length = 0 WHERE "Whose" = 'o-4'""",
        """DELETE FROM "Every ""note" WHERE "Whose" = 'o-5'""",
        """INSERT INTO "Every ""note" VALUES ('it''s', 1, '{}')""",
        "DELETE FROM latest WHERE stream = 'customers/c-1'",
    ):
        await notes_connection.execute(damage)
    report = await dataset.verify(NAME)
    found = {one.place: (one.kind, one.detail) for one in report.findings if one.place != "orders/o-2"}
    table = {"table": 'Every "note'}
    assert found == {
        "orders/o-1": (
            Kind.DIFFERENT,
            {
                **table,
                "key": "o-1@3",
                "columns": {"The Text.type": {"expected": "orders.order-shipped", "found": 1}},
            },
        ),
        "orders/o-4": (
            Kind.DIFFERENT,
            {**table, "key": "o-4@1", "columns": {"length": {"expected": 19, "found": 0}}},
        ),
        "orders/o-5": (Kind.DIFFERENT, {**table, "key": "o-5@1", "row": "missing"}),
        "orders/it's": (
            Kind.STRAY,
            {"applied": 0, "content": [{**table, "key": "it's@1", "row": "unexpected"}]},
        ),
        "customers/c-1": (Kind.DIFFERENT, {"table": "latest", "key": "customers/c-1", "row": "missing"}),
    }
    older = [one.detail["columns"] for one in report.findings if one.place == "orders/o-2"]
    assert older == [{"characters": {"expected": None, "found": 7}}] * 2, "only the older column is compared"


async def test_it_is_compared_by_its_descriptors(notes_connection: asyncpg.Connection) -> None:
    for damage in (
        """UPDATE "Every ""note" SET "The Text" = '{"type": 1}' WHERE "Whose" = 'o-1'""",
        "UPDATE positions SET applied = 9 WHERE stream = 'orders/o-2'",
        """DELETE FROM "Every ""note" WHERE "Whose" = 'o-2'""",
    ):
        await notes_connection.execute(damage)
    store = PostgresReadStore(NAME, notes_connection, tables_of(NAME))
    found = {part.name: part for part in (await store.compare(GENERATION, 78, 5)).parts}
    assert set(found) == {'Every "note', "latest"}
    part = found['Every "note']
    assert (part.missing, part.extra, part.undecided) == (0, 0, 0), "rows of a stream that is apart are left out"
    assert part.different == 4
    assert found["latest"].equal


async def test_a_read_model_that_cannot_be_verified_is_refused(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnknownReadModelError, match="there is no read model 'nowhere'"):
        await dataset.verify("nowhere")
    monkeypatch.setitem(read_models._BY_NAME, NAME, ReadModel(NAME, StoreKind.REDIS, ("orders",)))
    with pytest.raises(NoFiguresError, match="notes cannot be verified"):
        await dataset.verify(NAME)
