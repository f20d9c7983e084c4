"""Erasures in the read stores: in whatever order a person's data and their erasure come, nothing of them is left, and a rebuild gives the
same rows."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from projectors.models.search.store import SearchStore
from projectors.models.summary.store import SummaryStore
from projectors.stores.erasure import in_erased_form
from projectors.stores.migrations import migrate
from projectors.stores.port import Advance, Commit
from projectors.stores.postgres_store import PostgresStore
from projectors.stores.tables import tables_of
from shared.contracts.bookings import DoctorRegistered, DoctorRenamed, PatientRegistered, PatientRenamed
from shared.contracts.catalog import ReviewAdded
from shared.contracts.customers import CustomerRegistered, CustomerRenamed, EmailChanged
from shared.contracts.privacy import SubjectErased, stream_of_subject
from shared.contracts.values import EventData
from shared.runtime.settings import Settings
from tests import shop, users
from tests.shop import NOON

CANARY = "Zanzibar"
"""Part of every personal text here."""
SUBJECTS = ("customers/c-1", "users/u-1", "doctors/d-1", "patients/p-1")


def named(text: str) -> str:
    return f"{CANARY}{text}"


STREAMS: dict[str, Sequence[EventData]] = {
    "customers/c-1": [
        CustomerRegistered(customer_id="c-1", name=named("1"), email=f"{CANARY}@example.org", registered_at=NOON),
        CustomerRenamed(customer_id="c-1", name=named("2"), previous_name=named("1"), renamed_at=NOON),
        EmailChanged(customer_id="c-1", email=f"{CANARY}2@example.org", previous_email=None, changed_at=NOON),
    ],
    "customers/c-2": [CustomerRegistered(customer_id="c-2", name="Bea", registered_at=NOON)],
    "users/u-1": [
        users.created(name=named("u"), email=f"{CANARY}@example.org"),
        users.renamed(name=named("v"), previous=named("u")),
        users.new_role(),
    ],
    "doctors/d-1": [
        DoctorRegistered(doctor_id="d-1", name=named("d"), speciality="Skin", time_zone="UTC", registered_at=NOON),
        DoctorRenamed(doctor_id="d-1", name=named("e"), previous_name=named("d"), speciality="Skin", renamed_at=NOON),
    ],
    "patients/p-1": [
        PatientRegistered(patient_id="p-1", name=named("p"), email=None, registered_at=NOON),
        PatientRenamed(patient_id="p-1", name=named("q"), previous_name=named("p"), renamed_at=NOON),
    ],
    "products/p-9": [
        shop.created("p-9"),
        ReviewAdded(
            product_id="p-9",
            review_id="r",
            rating=5,
            text=named("r"),
            customer_id="c-1",
            review_count=1,
            rating_sum=5,
            added_at=NOON,
        ),
        ReviewAdded(
            product_id="p-9",
            review_id="s",
            rating=5,
            text="fine",
            customer_id="c-2",
            review_count=2,
            rating_sum=10,
            added_at=NOON,
        ),
    ],
}
STREAMS |= {stream_of_subject(each): [SubjectErased(subject=each, erased_at=NOON)] for each in SUBJECTS}
EVENTS_IN_ORDER = [stream for stream, facts in STREAMS.items() for _ in facts]


@dataclass
class ReadStore:
    store: PostgresStore[Any]
    connection: asyncpg.Connection
    tables: Sequence[str]
    kinds: frozenset[str]

    async def empty(self) -> None:
        names = ", ".join((*self.tables, "positions", "held", "progress", "erased_subjects"))
        await self.connection.execute(f"TRUNCATE {names}")

    async def rows(self) -> dict[str, list[str]]:
        found = {}
        for table in self.tables:
            rows = await self.connection.fetch(f"SELECT to_jsonb(t)::text AS row FROM {table} AS t")  # noqa: S608
            found[table] = sorted(row["row"] for row in rows)
        return found


@pytest.fixture(params=["summary", "search"])
async def read_store(request: pytest.FixtureRequest, migrated: Settings) -> AsyncIterator[ReadStore]:
    name, schema = request.param, f"{request.param}_erasure"
    url = migrated.store_url(name)
    await migrate(name, url, schema=schema)
    store: PostgresStore[Any] = SummaryStore(url, schema) if name == "summary" else SearchStore(url, schema)
    connection = await asyncpg.connect(url, server_settings={"search_path": f"{schema}, public"})
    kinds = frozenset(
        {"customers", "doctors", "products", "subjects", *(("users", "patients") if name == "summary" else ())}
    )
    yield ReadStore(store, connection, [table.name for table in tables_of(name)], kinds)
    await connection.execute(f"DROP SCHEMA {schema} CASCADE")
    await connection.close()
    await store.close()


async def apply(read_store: ReadStore, order: Sequence[str], cuts: Sequence[int]) -> None:
    """One event of each of these streams after another, in commits that end at these places."""
    applied: dict[str, int] = {}
    batch: dict[str, Advance] = {}
    for place, stream in enumerate(order, 1):
        if stream.partition("/")[0] in read_store.kinds:
            at = applied.get(stream, 0)
            known = batch.get(stream)
            new = shop.event(STREAMS[stream][at], stream, at + 1)
            batch[stream] = (
                Advance(stream, at, [new]) if known is None else Advance(stream, known.expected, [*known.events, new])
            )
            applied[stream] = at + 1
        if batch and (place in cuts or place == len(order)):
            await read_store.store.commit(Commit(list(batch.values())))
            batch = {}


async def rebuilt(read_store: ReadStore) -> dict[str, list[str]]:
    """The rows that a rebuild gives: the keys are gone, so that every event is decoded in the erased form."""
    await read_store.empty()
    advances = [
        shop.run(stream, *facts) for stream, facts in STREAMS.items() if stream.partition("/")[0] in read_store.kinds
    ]
    await read_store.store.commit(Commit(in_erased_form(advances, SUBJECTS)))
    return await read_store.rows()


async def test_every_order_of_data_and_erasures_ends_in_the_rows_of_a_rebuild(read_store: ReadStore) -> None:
    expected = await rebuilt(read_store)
    assert "[erased]" in str(expected)
    assert "Bea" in str(expected)
    chosen = random.Random(7)
    for _ in range(10):
        await read_store.empty()
        order = chosen.sample(EVENTS_IN_ORDER, len(EVENTS_IN_ORDER))
        await apply(read_store, order, chosen.sample(range(len(order)), 6))
        found = await read_store.rows()
        assert CANARY not in str(found), order
        assert CANARY.lower() not in str(found), order
        assert found == expected, order


async def test_an_erasure_and_data_that_are_written_at_the_same_moment_leave_nothing(read_store: ReadStore) -> None:
    for number in range(20):
        subject = f"customers/c-{number}"
        data = CustomerRegistered(customer_id=f"c-{number}", name=named("x"), email=None, registered_at=NOON)
        erasure = SubjectErased(subject=subject, erased_at=NOON)
        await asyncio.gather(
            read_store.store.commit(Commit([shop.run(subject, data)])),
            read_store.store.commit(Commit([shop.run(stream_of_subject(subject), erasure)])),
        )
    assert CANARY.lower() not in str(await read_store.rows()).lower()
