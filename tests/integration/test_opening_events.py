"""Projectors open what is sealed: by the keys of now; what cannot be opened holds its own stream, and errors quote nothing."""

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from projectors.runtime.decoding import ArrivedEvent
from projectors.runtime.opening import EventOpener, failure_of_event
from projectors.runtime.retry import KEY_MISSING
from projectors.stores.port import Event
from shared.contracts.customers import CustomerRegistered
from shared.contracts.privacy import SubjectErased, stream_of_subject
from shared.privacy.key_cache import KeyCache
from shared.privacy.key_database import KeyDatabase
from shared.privacy.marks import ERASED
from shared.privacy.sealing import sealed
from shared.runtime.outage import OutageRetry
from shared.runtime.postgres import is_outage
from shared.runtime.settings import Settings
from tests import shop
from tests.shop import NOON


@pytest.fixture
async def keys(migrated: Settings) -> AsyncIterator[KeyDatabase]:
    made = KeyDatabase(migrated.keys_db_url)
    yield made
    await made.close()


@pytest.fixture
async def opener(migrated: Settings) -> AsyncIterator[EventOpener]:
    made = EventOpener(KeyCache(KeyDatabase(migrated.keys_db_url)), OutageRetry("the key database", is_outage))
    yield made
    await made.close()


def arrived(data: object, stream: str) -> ArrivedEvent:
    return ArrivedEvent(shop.event(data, stream), {})  # type: ignore[arg-type]


async def test_events_are_opened_by_the_keys_of_now(opener: EventOpener, keys: KeyDatabase, migrated: Settings) -> None:
    subject = f"customers/{uuid4()}"
    clear = CustomerRegistered(customer_id="c", name="Zanzibar", registered_at=NOON)
    item = arrived(sealed(clear, subject, await keys.keys([subject], make=[subject])), subject)
    [found] = await opener.open([item])
    assert found.event.data == clear
    await keys.destroy(subject)
    erasure = arrived(SubjectErased(subject=subject, erased_at=NOON), stream_of_subject(subject))
    _, found = await opener.open([erasure, item])
    assert found.event.data == CustomerRegistered(customer_id="c", name=ERASED, registered_at=NOON)
    lost = f"customers/{uuid4()}"
    other = arrived(sealed(clear, lost, {lost: b"k" * 32}), lost)
    held, fine = await opener.open([other, item])
    assert held.failure is not None
    assert held.failure.reason == KEY_MISSING
    assert fine.failure is None
    admin = await asyncpg.connect(migrated.keys_db_url)
    await admin.execute("INSERT INTO subject_keys VALUES ($1, $2)", lost, b"k" * 32)
    await admin.close()
    [back] = await opener.open([other])
    assert back.event.data == clear, "as soon as the key is back"


def refuse(event: Event) -> None:
    raise ValueError(f"too long: {event.data}")


def test_an_error_about_personal_data_is_recorded_without_its_text() -> None:
    event = shop.event(CustomerRegistered(customer_id="c", name="Zanzibar", registered_at=NOON), "customers/c")
    with pytest.raises(ValueError, match="Zanzibar") as raised:
        refuse(event)
    found = failure_of_event(event, raised.value, "projection-failed")
    assert "Zanzibar" not in f"{found.exception} {found.trace} {found.fingerprint}"
    assert found.exception.startswith("ValueError")
    assert "test_opening_events.py" in found.trace
