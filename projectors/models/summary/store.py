"""Writes the summary's tables, set-based: history, documents, and what else is appended; see the migrations for the DDL."""

from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

import msgspec

from projectors.models.summary.documents import Appended, Changes, Current, Documents, Row
from projectors.models.summary.projection import APPENDED, CURRENT, DOCUMENTS, fold
from projectors.models.summary.tables import HISTORY
from projectors.stores.erasure import ids_of
from projectors.stores.folding import Fields
from projectors.stores.port import Advance
from projectors.stores.postgres_store import PostgresStore
from projectors.stores.postgres_writing import append, columns_of, create
from projectors.stores.projection import in_postgres
from shared.contracts.registry import EVENTS, PERSONAL_EVENTS
from shared.runtime.postgres import Connection

APPEND_HISTORY: Final = """
INSERT INTO history (stream, version, type, at, actor, data)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::timestamptz[], $5::text[], $6::json[])
"""

# The column is json, or jsonb where it is old: the assignment converts to either.
ERASE_HISTORY: Final = """
UPDATE history SET data = erased(data::jsonb, $2::text[])
WHERE stream = ANY ($1::text[]) AND type = ANY ($3::text[])
"""
ERASE_REVIEWS: Final = """
UPDATE history SET data = erased(data::jsonb, '{text}')
WHERE type = 'catalog.review-added' AND data ->> 'customer_id' = ANY ($1::text[])
"""
PERSONAL_TEXTS: Final = sorted({name for fields in PERSONAL_EVENTS.values() for name in fields})
PERSONAL_TYPES: Final = sorted(EVENTS[cls][0] for cls in PERSONAL_EVENTS)

_ENCODER: Final = msgspec.json.Encoder()


class SummaryStore(PostgresStore[Changes]):
    has_personal_data = True

    def __init__(self, url: str, schema: str = "summary") -> None:
        super().__init__(url, schema)

    def fold(self, advances: Sequence[Advance]) -> Changes:
        return fold(advances)

    async def write(self, connection: Connection, changes: Changes) -> None:
        if rows := changes.appended.get(HISTORY.name):
            history = [(*row[:-1], _ENCODER.encode(row[-1]).decode()) for row in rows]
            await append(connection, HISTORY.name, HISTORY.columns, history, APPEND_HISTORY)
        for documents in DOCUMENTS:
            if documents.name in changes.documents:
                await _write(connection, documents, changes)
        for table in APPENDED:
            if rows := changes.appended.get(table.name):
                await append(connection, table.name, table.columns, _encoded(table, rows), table.insert)
        for current in CURRENT:
            if current.name in changes.current:
                await _replace(connection, current, changes)

    async def erase(self, connection: Connection, subjects: Collection[str]) -> None:
        for documents in DOCUMENTS:
            if documents.erase is not None and (ids := ids_of(subjects, documents.name)):
                await connection.execute(documents.erase, ids)
        for table in APPENDED:
            if table.erase is not None and table.kind is not None and (ids := ids_of(subjects, table.kind)):
                await connection.execute(table.erase, ids)
        await connection.execute(ERASE_HISTORY, sorted(subjects), PERSONAL_TEXTS, PERSONAL_TYPES)
        if customers := ids_of(subjects, "customers"):
            await connection.execute(ERASE_REVIEWS, customers)


async def _write(connection: Connection, documents: Documents, changes: Changes) -> None:
    """New documents: the columns that are fields of the document, then the document itself. Of the others, the fields that change."""
    rows = changes.documents[documents.name]
    if rows.created:
        fields = itemgetter(*documents.columns)
        texts = zip(rows.created.values(), _json(rows.created), strict=True)
        created = [(*fields(document), text) for document, text in texts]
        await create(connection, documents.name, (*documents.columns, "doc"), created, documents.create)
    if rows.changed:
        found: Sequence[Any] = await connection.fetch(documents.change, list(rows.changed), _json(rows.changed))
        rows.require(row[0] for row in found)


def _encoded(table: Appended, rows: Sequence[Row]) -> Sequence[Row]:
    """The rows with the values of json columns as text."""
    if not table.json:
        return rows
    is_json = [name in table.json for name in table.columns]
    return [
        tuple(_ENCODER.encode(value).decode() if encode else value for value, encode in zip(row, is_json, strict=True))
        for row in rows
    ]


async def _replace(connection: Connection, table: Current, changes: Changes) -> None:
    rows = changes.current[table.name]
    if written := [table.values(row) for row in rows.values() if row is not None]:
        await connection.execute(table.write, *columns_of(written))
    if removed := [key for key, row in rows.items() if row is None]:
        await connection.execute(table.remove, removed)


def _json(documents: Mapping[str, Fields]) -> list[str]:
    return [_ENCODER.encode(document).decode() for document in documents.values()]


PROJECTION: Final = in_postgres("summary", SummaryStore)
