"""What is left of a person who is erased, place by place: it looks for clear texts in what belongs to the person, and for a key.

With texts that were the person's (``--value``) it looks for these as well, in every row of every table and in every Redis key.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import asyncpg
from pydantic_core import from_json
from redis.asyncio import Redis

from command_service.privacy.stored_texts import PERSONAL_COMMANDS, PERSONAL_TYPES, REVIEWS_OF
from deploy.erasure.queues import waiting
from deploy.erasure.stores import KEYS, OPERATIONS, WRITE, connection, databases, generations, redis_stores, rows_of
from projectors.stores.tables import Table, tables_of
from shared.contracts.privacy import stream_of_subject
from shared.contracts.registry import PERSONAL_EVENTS
from shared.privacy.command_bodies import subject_of_command, texts_of_command
from shared.privacy.key_database import ERASED_AT, HAS_KEY
from shared.privacy.marks import ERASED
from shared.privacy.sealing import is_sealed
from shared.read_models import READ_MODELS, StoreKind
from shared.runtime.settings import Settings
from shared.views import operations

PERSONAL_NAMES: Final = frozenset(name for fields in PERSONAL_EVENTS.values() for name in fields)

ERASURE: Final = "SELECT erased_at, settled_at FROM erasures WHERE subject = $1"
IS_SEALED: Final = "SELECT done_at IS NOT NULL FROM sealing"
EVENTS: Final = "SELECT stream, version, envelope::text AS envelope FROM all_events WHERE stream = $1"
STATE: Final = "SELECT state::text AS state FROM streams WHERE stream = $1"
CLAIMS: Final = "SELECT scope FROM claims WHERE stream = $1 AND scope IN ('customer-email', 'user-email')"
SCHEDULED: Final = "SELECT envelope AS body FROM scheduled_commands WHERE command_type = ANY ($1::text[])"
LETTERS: Final = """
SELECT payloads.body FROM letters JOIN payloads ON payloads.letter_id = letters.id WHERE letters.type = ANY ($1::text[])
UNION ALL SELECT body FROM resent_commands WHERE type = ANY ($1::text[])
"""
EVENT_LETTERS: Final = """
SELECT payloads.body FROM letters JOIN payloads ON payloads.letter_id = letters.id WHERE letters.stream = $1
"""
KNOWN_TO_BE_ERASED: Final = "SELECT EXISTS (SELECT FROM erased_subjects WHERE subject = $1)"
TABLES: Final = """
SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables
WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1
"""


@dataclass(slots=True)
class Findings:
    """Place → what was found there; and what was looked into."""

    subject: str
    erased_at: datetime | None = None
    checked: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    values: int = 0

    @property
    def is_clean(self) -> bool:
        return not self.left

    def found(self, place: str, what: str) -> None:
        self.left.append(f"{place}: {what}")


async def look(settings: Settings, subject: str, values: Sequence[str] = ()) -> Findings:
    """Raises ServerUnavailableError, MissingSettingError, BrokerError."""
    findings = Findings(subject, values=len(values))
    urls = databases(settings)
    async with connection(KEYS, urls[KEYS]) as keys:
        await _keys(keys, findings)
    async with connection(WRITE, urls[WRITE]) as write:
        await _write(write, findings)
    async with connection(OPERATIONS, urls[OPERATIONS], schema=operations.SCHEMA) as found:
        await _letters(found, findings)
    for model in READ_MODELS:
        if model.store is StoreKind.POSTGRES and model.has_personal_data:
            for schema, active in (await generations(settings, model.name)).items():
                async with connection(model.name, settings.store_url(model.name), schema=schema) as store:
                    await _generation(store, schema, tables_of(model.name), findings, active=active)
    for queue, count in (await waiting(settings)).items():
        findings.found(f"queue {queue}", f"{count} messages wait; they may have data of anybody: verify again")
    findings.checked.append("queues of commands, events and dead letters")
    if values:
        await _search(settings, urls, values, findings)
    return findings


async def _keys(keys: asyncpg.Connection, findings: Findings) -> None:
    findings.checked.append("key database")
    findings.erased_at = await keys.fetchval(ERASED_AT, findings.subject)
    if findings.erased_at is None:
        findings.found("key database", "does not list the person as erased")
    if await keys.fetchval(HAS_KEY, findings.subject):
        findings.found("key database", "has a key of the person")


async def _write(write: asyncpg.Connection, findings: Findings) -> None:
    subject = findings.subject
    findings.checked.append("write database: events, archived ones too; state, claims, scheduled commands")
    row = await write.fetchrow(ERASURE, subject)
    if row is None or row["erased_at"] is None:
        findings.found("write database", "the erasure is not recorded, or not seen through")
    if not await write.fetchval(IS_SEALED):
        findings.found("write database", "may have data of anybody in clear: run `tidemark subjects seal`")
    rows = await write.fetch(EVENTS, subject)
    kind, _, own_id = subject.partition("/")
    if kind == "customers":
        rows += await write.fetch(REVIEWS_OF, own_id, timeout=None)
    for row in rows:
        envelope = from_json(row["envelope"])
        if envelope["type"] in PERSONAL_TYPES and (names := clear_names(envelope["data"])):
            findings.found(f"event {row['stream']}@{row['version']}", f"{', '.join(names)} in clear")
    state = await write.fetchval(STATE, subject)
    if state is not None and (names := clear_names(from_json(state))):
        findings.found("state of the stream", f"{', '.join(names)} in clear")
    for row in await write.fetch(CLAIMS, subject):
        findings.found("claims", f"the person still has a {row['scope']}")
    _commands("scheduled command", await write.fetch(SCHEDULED, PERSONAL_COMMANDS), findings)


async def _letters(found: asyncpg.Connection, findings: Findings) -> None:
    findings.checked.append("operations database: letters, edited commands")
    _commands("dead letter", await found.fetch(LETTERS, PERSONAL_COMMANDS, timeout=None), findings)
    for row in await found.fetch(EVENT_LETTERS, findings.subject):
        envelope = _json(row["body"])
        if isinstance(envelope, dict) and (names := clear_names(envelope.get("data"))):
            findings.found("dead letter", f"{', '.join(names)} in clear")


def _commands(place: str, rows: Sequence[asyncpg.Record], findings: Findings) -> None:
    for row in rows:
        parsed = _json(row["body"])
        for each in parsed if isinstance(parsed, list) else [parsed]:
            clear = [name for name, text in texts_of_command(each).items() if text != ERASED and not is_sealed(text)]
            if clear and subject_of_command(each) == findings.subject:
                findings.found(place, f"{', '.join(clear)} in clear")


async def _generation(
    store: asyncpg.Connection, schema: str, tables: Sequence[Table[Any]], findings: Findings, *, active: bool
) -> None:
    findings.checked.append(f"{schema} ({'active' if active else 'not active'})")
    if not await store.fetchval(KNOWN_TO_BE_ERASED, findings.subject):
        findings.found(schema, f"has not applied {stream_of_subject(findings.subject)}")
    kind, _, own_id = findings.subject.partition("/")
    for table in tables:
        if table.kind not in (kind, None):
            continue
        rows = await rows_of(store, table, own_id if table.kind == kind else findings.subject)
        if names := clear_names(rows):
            findings.found(f"{schema}.{table.name}", f"{', '.join(names)} in clear")


def clear_names(value: Any, name: str = "") -> list[str]:
    """The personal fields, however deep, whose text is neither sealed nor erased."""
    if isinstance(value, dict):
        return sorted({found for key, each in value.items() for found in clear_names(each, key)})
    if isinstance(value, list):
        return sorted({found for each in value for found in clear_names(each, name)})
    if name in PERSONAL_NAMES and isinstance(value, str) and value != ERASED and not is_sealed(value):
        return [name]
    return []


async def _search(settings: Settings, urls: Mapping[str, str], values: Sequence[str], findings: Findings) -> None:
    """Every row as text, and as the hexadecimal digits that bytes have there; case does not matter."""
    wanted = [form for value in values for form in (value.lower(), value.encode().hex())]
    for name, url in urls.items():
        async with connection(name, url) as database:
            for row in await database.fetch(TABLES):
                count = await database.fetchval(
                    f"SELECT count(*) FROM {row[0]} AS t WHERE EXISTS "  # noqa: S608 - quoted
                    "(SELECT FROM unnest($1::text[]) AS v (text) WHERE position(v.text IN lower(t::text)) > 0)",
                    wanted,
                    timeout=None,
                )
                if count:
                    findings.found(f"{name}: {row[0]}", f"{count} rows have one of the values")
        findings.checked.append(f"every table of the database {name}, for {len(values)} values")
    for name, url in redis_stores(settings).items():
        redis: Redis = Redis.from_url(url)
        try:
            async for key in redis.scan_iter(count=1000):
                content = (key + b"\n" + await _redis_text(redis, key)).lower()
                if any(value.lower().encode() in content for value in values):
                    findings.found(f"{name}: Redis", f"the key {key.decode(errors='replace')} has one of the values")
        finally:
            await redis.aclose()
        findings.checked.append(f"every key of the Redis of {name}, for {len(values)} values")


async def _redis_text(redis: Redis, key: bytes) -> bytes:
    kind = await redis.type(key)
    found: Any = b""
    match kind:
        case b"string":
            found = await redis.get(key)
        case b"hash":
            found = await redis.hgetall(key)
        case b"list":
            found = await redis.lrange(key, 0, -1)
        case b"set":
            found = await redis.smembers(key)
        case b"zset":
            found = await redis.zrange(key, 0, -1)
        case _:
            found = await redis.dump(key)
    return found if isinstance(found, bytes) else repr(found).encode()


def _json(body: Any) -> Any:
    try:
        return from_json(body)
    except ValueError:
        return None


def as_document(findings: Findings) -> dict[str, Any]:
    return {
        "subject": findings.subject,
        "erased": findings.is_clean,
        "erased_at": None if findings.erased_at is None else findings.erased_at.isoformat(),
        "checked": findings.checked,
        "values_searched": findings.values,
        "left": findings.left,
    }
