"""Everything that is stored of a person, in clear, as JSON (GDPR, Art. 15): their events, reviews, documents, and what refers to them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from pydantic_core import from_json

from command_service.privacy.stored_texts import REVIEWS_OF
from deploy.erasure.stores import OPERATIONS, WRITE, connection, databases, generations, key_database, rows_of
from projectors.stores.tables import tables_of
from shared.contracts.registry import event_data
from shared.privacy.marks import personal_fields, subject_of
from shared.privacy.sealing import Keys, opened
from shared.read_models import IN_POSTGRES
from shared.runtime.settings import Settings
from shared.views import operations

EVENTS: Final = "SELECT stream, version, envelope::text AS envelope FROM all_events WHERE stream = $1 ORDER BY version"
LETTERS: Final = "SELECT id, origin, type, reason, status, last_failed_at FROM letters WHERE stream = $1 ORDER BY id"
REFERENCES: Final = {
    "customers": {"orders": "SELECT doc::text FROM orders WHERE customer_id = $1 ORDER BY order_id"},
    "patients": {"bookings": "SELECT doc::text FROM bookings WHERE patient_id = $1 ORDER BY booking_id"},
    "doctors": {"bookings": "SELECT doc::text FROM bookings WHERE doctor_id = $1 ORDER BY booking_id"},
    "users": {},
}
"""Kind of person → what refers to them in the summary, by their id."""


async def export(settings: Settings, subject: str) -> dict[str, Any]:
    """Raises ServerUnavailableError, KeyMissingError."""
    urls = databases(settings)
    kind, _, own_id = subject.partition("/")
    async with key_database(settings) as keys:
        key = await keys.keys([subject])
    async with connection(WRITE, urls[WRITE]) as write:
        rows = await write.fetch(EVENTS, subject)
        if kind == "customers":
            rows += await write.fetch(REVIEWS_OF, own_id, timeout=None)
    documents: dict[str, list[Any]] = {}
    references: dict[str, list[Any]] = {}
    for model in IN_POSTGRES:
        if not model.has_personal_data:
            continue
        [schema] = [name for name, active in (await generations(settings, model.name)).items() if active]
        async with connection(model.name, settings.store_url(model.name), schema=schema) as store:
            for table in tables_of(model.name):
                if table.kind == kind:
                    documents[f"{model.name}.{table.name}"] = await rows_of(store, table, own_id)
            if model.name == "summary":
                for name, statement in REFERENCES.get(kind, {}).items():
                    references[name] = _parsed(await store.fetch(statement, own_id))
    async with connection(OPERATIONS, urls[OPERATIONS], schema=operations.SCHEMA) as found:
        letters = [dict(row) for row in await found.fetch(LETTERS, subject)]
    document = {
        "subject": subject,
        "exported_at": datetime.now(UTC),
        "erased": subject in key and key[subject] is None,
        "events": [_event(from_json(row["envelope"]), key) for row in rows],
        "documents": documents,
        "refers_to_the_person": references,
        "dead_letters": letters,
    }
    plain: dict[str, Any] = msgspec.to_builtins(document)
    return plain


def _event(envelope: dict[str, Any], keys: Keys) -> dict[str, Any]:
    data = event_data(envelope["type"], envelope["schemaversion"], envelope["data"])
    if personal_fields(type(data)) and subject_of(type(data), data, envelope["subject"]) in keys:
        data = opened(data, envelope["subject"], keys)
    return {
        "stream": envelope["subject"],
        "version": envelope["streamversion"],
        "type": envelope["type"],
        "time": envelope["time"],
        "actor": envelope.get("actor"),
        "data": data,
    }


def _parsed(rows: Sequence[Any]) -> list[Any]:
    return [from_json(row[0]) for row in rows]
