"""The telemetry tables, written set-based: a reading is recorded once, and hours, days and series are derived from what is new.

- Tables with a time are partitioned by month. A commit creates the partitions that it needs.
- ``TIDEMARK_TELEMETRY_RETENTION_DAYS`` moves the horizon forward, to the start of a month, and drops the partitions before it. Writers
  hold the horizon in place during their commits (an advisory lock of this schema), so that nothing is written before it.
"""

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec

from projectors.models.telemetry.options import TelemetryOptions
from projectors.models.telemetry.projection import Changes, fold
from projectors.models.telemetry.readings import Readings
from projectors.models.telemetry.tables import DEVICE_COLUMNS, HORIZON
from projectors.stores.folding import Fields
from projectors.stores.port import Advance, Commit
from projectors.stores.postgres_store import PostgresStore
from projectors.stores.projection import in_postgres
from shared.runtime.postgres import Connection

log: Final = logging.getLogger(__name__)

UPSERT_DEVICES: Final = """
INSERT INTO devices (device_id, model, site, status, metrics, readings, registered_at, recorded_at, updated_at, version)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::jsonb[], $6::bigint[], $7::timestamptz[], $8::timestamptz[],
    $9::timestamptz[], $10::bigint[]
)
ON CONFLICT (device_id) DO UPDATE SET
    model = excluded.model,
    site = excluded.site,
    status = excluded.status,
    metrics = excluded.metrics,
    readings = excluded.readings,
    registered_at = excluded.registered_at,
    recorded_at = excluded.recorded_at,
    updated_at = excluded.updated_at,
    version = excluded.version
"""
# The row keeps every field that the events do not contain.
CHANGE_DEVICES: Final = """
UPDATE devices SET (model, site, status, metrics, readings, recorded_at, updated_at, version) = (
    SELECT changes.model, changes.site, changes.status, changes.metrics, changes.readings, changes.recorded_at,
        changes.updated_at, changes.version
    FROM jsonb_populate_record(devices, changed.fields) AS changes
)
FROM unnest($1::text[], $2::jsonb[]) AS changed (device_id, fields)
WHERE devices.device_id = changed.device_id
RETURNING devices.device_id
"""
HOLD_HORIZON: Final = "SELECT pg_advisory_xact_lock_shared(hashtextextended(current_schema(), 0))"
LOCK_HORIZON: Final = "SELECT pg_advisory_xact_lock(hashtextextended(current_schema(), 0))"
CREATE_PARTITIONS: Final = "SELECT create_partitions($1::timestamptz[])"
_HERE: Final = Path(__file__).parent
RECORD_READINGS: Final = (_HERE / "record_readings.sql").read_text()
COUNT_DUPLICATES: Final = (_HERE / "count_duplicates.sql").read_text()

MOVE_HORIZON: Final = "UPDATE retention SET horizon = $1 WHERE horizon < $1"
DROP_PARTITIONS: Final = "SELECT drop_partitions($1)"
FORGET_SERIES: Final = "DELETE FROM series WHERE last_at < $1"
FORGET_INSIDE: Final = "UPDATE series SET inside_at = NULL WHERE inside_at < $1"
FORGET_OUTSIDE: Final = "UPDATE series SET outside_at = NULL, outside = NULL, outside_side = NULL WHERE outside_at < $1"
SHORT_LOCK_TIMEOUT: Final = "SET LOCAL lock_timeout = '500ms'"
"""All who read a table wait behind the drop of a partition that waits for its lock."""
SCAN: Final = "SET LOCAL enable_seqscan = on"

CHECK_EVERY_S: Final = 60.0

_ENCODER: Final = msgspec.json.Encoder()


class TelemetryStore(PostgresStore[Changes]):
    def __init__(self, url: str, schema: str = "telemetry", options: TelemetryOptions | None = None) -> None:
        super().__init__(url, schema)
        self._options = options or TelemetryOptions()
        self._checked_at = float("-inf")

    def fold(self, advances: Sequence[Advance]) -> Changes:
        return fold(advances)

    async def commit(self, commit: Commit) -> None:
        if self._options.retention_days is not None and time.monotonic() - self._checked_at > CHECK_EVERY_S:
            self._checked_at = time.monotonic()
            await self.forget_before(datetime.now(UTC) - timedelta(days=self._options.retention_days))
        await super().commit(commit)

    async def write(self, connection: Connection, changes: Changes) -> None:
        if rows := changes.devices.created:
            columns = [[_stored(name, row) for row in rows.values()] for name in DEVICE_COLUMNS[1:]]
            await connection.execute(UPSERT_DEVICES, list(rows), *columns)
        if rows := changes.devices.changed:
            fields = [_ENCODER.encode(fields).decode() for fields in rows.values()]
            found = await connection.fetch(CHANGE_DEVICES, list(rows), fields)
            changes.devices.require(row["device_id"] for row in found)
        if len(changes.readings):
            await self._record(connection, changes.readings)

    async def forget_before(self, time: datetime) -> None:
        """Move the horizon to the start of this month, unless it is there or further. A table that is in use now is left for later."""
        month = time.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        async with self._connection() as connection:
            if await connection.fetchval(HORIZON) >= month:
                return
            try:
                async with connection.transaction():
                    await connection.execute(SHORT_LOCK_TIMEOUT)
                    await connection.execute(SCAN)
                    await connection.execute(LOCK_HORIZON)
                    await connection.execute(MOVE_HORIZON, month)
                    dropped = await connection.fetchval(DROP_PARTITIONS, month)
                    for statement in (FORGET_SERIES, FORGET_INSIDE, FORGET_OUTSIDE):
                        await connection.execute(statement, month)
            except asyncpg.LockNotAvailableError as error:
                log.info("readings before %s are forgotten later: %s", month.date(), error)
            else:
                log.info("forgot all readings before %s: %d partitions", month.date(), dropped)

    async def _record(self, connection: Connection, readings: Readings) -> None:
        await connection.execute(HOLD_HORIZON)
        horizon = await connection.fetchval(HORIZON)
        months = sorted({(at.year, at.month) for at in readings.at})
        starts = [start for year, month in months if (start := datetime(year, month, 1, tzinfo=UTC)) >= horizon]
        await connection.execute(CREATE_PARTITIONS, starts)
        [(arrived, recorded)] = await connection.fetch(RECORD_READINGS, *readings.columns(), horizon)
        if recorded < arrived:
            await connection.execute(
                COUNT_DUPLICATES,
                readings.device_id,
                readings.metric,
                readings.at,
                readings.value,
                readings.known_versions(),
                horizon,
            )


def _stored(name: str, row: Fields) -> Any:
    return _ENCODER.encode(row[name]).decode() if name == "metrics" else row[name]


PROJECTION: Final = in_postgres("telemetry", TelemetryStore)
