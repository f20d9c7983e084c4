"""What projectors tell of acts on their generations is in the audit, once each, as soon as the operations database is there."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from projectors.runtime.failure_messages import acted_message
from shared.messages.control import Acted
from shared.messages.envelope import CONTENT_TYPE
from shared.messaging import topology
from shared.messaging.broker import Outgoing
from tests.integration.dead_letters.harness import Harness
from tests.proxy import Proxy

ASKED = datetime(2026, 4, 1, 12, tzinfo=UTC)


def acted(**other: Any) -> Outgoing:
    return acted_message(
        Acted(
            **{
                "projection": "summary",
                "act": "activate",
                "generation": 2,
                "actor": "ann",
                "reason": "compared equal",
                "request_id": "r-1",
                "asked_at": ASKED,
            }
            | other
        )
    )


async def kept(harness: Harness, count: int) -> list[dict[str, Any]]:
    async def there() -> bool:
        return bool(await harness.db.fetchval("SELECT count(*) FROM audit") >= count)

    await harness.until(there)
    rows = [dict(row) for row in await harness.db.fetch("SELECT * FROM audit ORDER BY id")]
    assert len(rows) == count
    return rows


async def test_an_act_is_kept_once_however_often_it_is_told_of(harness: Harness) -> None:
    await harness.start()
    told = acted()
    for outgoing in (told, told, acted(), acted(projection="search"), acted(asked_at=ASKED + timedelta(minutes=1))):
        await harness.publisher.publish(outgoing)
    first, of_another, asked_again = await kept(harness, 3)
    assert (first["actor"], first["act"], first["reason"]) == ("ann", "activate", "compared equal")
    assert (first["projection"], first["request_id"], first["letter_id"]) == ("summary", "r-1", None)
    assert json.loads(first["details"]) == {"generation": 2, "asked_at": "2026-04-01T12:00:00Z"}
    assert first["at"] == datetime.fromisoformat(json.loads(told.body)["time"])
    assert (of_another["projection"], asked_again["request_id"]) == ("search", "r-1")


async def test_an_act_waits_for_the_operations_database_and_news_of_letters_with_it(harness: Harness) -> None:
    async with Proxy(harness.settings.operations_db_url).running() as proxy:
        worker = await harness.start(url=proxy.url)
        await harness.die("orders/o1")
        await harness.statuses(dead=1)
        proxy.down()
        await harness.publisher.publish(acted(act="rollback"))
        await harness.passed(("orders/o1", 1))
        await worker.kill()
        assert await harness.db.fetchval("SELECT count(*) FROM audit") == 0
    await harness.start()
    await harness.statuses(resolved=1)
    (act,) = await kept(harness, 1)
    assert act["act"] == "rollback"


async def test_a_notice_that_nobody_can_read_keeps_nothing_else_waiting(harness: Harness) -> None:
    await harness.start()
    for body in (b"{", acted().body.replace(b'"actor":"ann"', b'"actor":""')):
        await harness.publisher.publish(Outgoing(topology.CHANGES, topology.acted_key("summary"), body, CONTENT_TYPE))
    await harness.publisher.publish(acted(actor="bob"))
    (act,) = await kept(harness, 1)
    assert act["actor"] == "bob"
