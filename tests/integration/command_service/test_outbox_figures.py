"""The gauges of the outbox: how much waits in it, and for how long."""

import json
from datetime import UTC, datetime, timedelta

import asyncpg

from command_service.measuring.outbox import OutboxFigures
from shared.observability import metrics
from shared.observability.families import REGISTRY
from shared.runtime.settings import Settings

INSERT = "INSERT INTO outbox (stream, hash, type, envelope) VALUES ('orders/o-1', 1, 'orders.order-placed', $1)"


async def test_the_outbox_is_as_old_as_its_first_event(write_db: asyncpg.Connection, migrated: Settings) -> None:
    figures = OutboxFigures(migrated.write_db_url)
    try:
        await figures.read()
        assert REGISTRY.get_sample_value("tidemark_outbox_pending_events") == 0
        assert REGISTRY.get_sample_value("tidemark_outbox_oldest_seconds") == 0
        for age in (90, 30):
            time = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
            await write_db.execute(INSERT, json.dumps({"time": time}))
        await figures.read()
        assert REGISTRY.get_sample_value("tidemark_outbox_pending_events") == 2
        oldest = REGISTRY.get_sample_value("tidemark_outbox_oldest_seconds")
        assert oldest is not None
        assert 80 < oldest < 400
        await write_db.execute(INSERT, json.dumps({"time": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}))
        await write_db.execute("DELETE FROM outbox WHERE id < (SELECT max(id) FROM outbox)")
        await figures.read()
        assert REGISTRY.get_sample_value("tidemark_outbox_oldest_seconds") == 0, "a clock that is ahead is no age"
    finally:
        await figures.close()
        await write_db.execute("TRUNCATE outbox")
        metrics.OUTBOX.forget()
        metrics.OUTBOX_AGE.forget()
