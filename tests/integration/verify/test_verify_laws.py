"""Conservation laws: verify finds those that events break, those that a read model breaks, and commands of processes without an outcome."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import asyncpg
import pytest

from deploy.verify.findings import EVENT_STORE, Kind
from deploy.verify.laws.law_check import LawCheck
from deploy.verify.laws.process_commands import LAW, unanswered
from projectors.models.summary import products, projection
from projectors.process_runtime.migrations import migrate
from shared.contracts.catalog import StockReserved
from shared.contracts.values import EventData
from shared.processes import NAMES, folder_of
from tests import payments, shop
from tests.integration.verify.dataset import QUICK, Dataset

BRIEF = replace(QUICK, max_wait_s=0.2)
CANCELLED = shop.cancelled(shop.placed("o-100"))
SENT = """
INSERT INTO commands (process, command_id, input_id, key, type, subject, data, actor, decided_at, sent_at, outcome)
VALUES ($1, $1 || ':c', 'i', 'confirm', 'orders.confirm-order', $1, '{}', 'a', now(), now(), $2)
"""


async def happened(dataset: Dataset, stream: str, *facts: EventData) -> None:
    await dataset.append_events({stream: facts})
    await dataset.apply({stream: facts})


def captured(*refunds: int, order_id: str = "o-100") -> Sequence[EventData]:
    sums = [sum(refunds[: number + 1]) for number in range(len(refunds))]
    refunded = [
        payments.refunded(amount, order_id=order_id, refunded=total)
        for amount, total in zip(refunds, sums, strict=True)
    ]
    return [payments.requested(order_id=order_id), payments.captured(order_id=order_id), *refunded]


async def laws(dataset: Dataset) -> list[tuple[str, str, Any]]:
    report = await dataset.verify(options=BRIEF)
    assert report.equal == (not report.findings)
    assert all(one.kind is Kind.LAW for one in report.findings), report.findings
    return [(one.projection, one.place, one.detail.get("problem")) for one in report.findings]


async def test_a_cancelled_order_that_is_not_wholly_refunded_is_found_with_its_streams(dataset: Dataset) -> None:
    await happened(dataset, "orders/o-100", shop.placed("o-100"), CANCELLED)
    await happened(dataset, "payments/y-1", *captured(150))
    report = await dataset.verify(options=BRIEF)
    [finding] = report.findings
    assert (finding.projection, finding.kind, finding.place) == (EVENT_STORE, Kind.LAW, "orders/o-100")
    assert finding.detail["law"] == "cancelled-orders-are-refunded"
    assert finding.detail["streams"] == ["orders/o-100", "payments/y-1"]
    assert "of 400 that was captured for it 250 is not refunded" in finding.detail["problem"]


@pytest.mark.parametrize("refunds", [(400,), (150, 250)])
async def test_one_that_is_refunded_is_not_found_and_neither_is_one_that_stands(
    dataset: Dataset, refunds: tuple[int, ...]
) -> None:
    await happened(dataset, "orders/o-100", shop.placed("o-100"), CANCELLED)
    await happened(dataset, "payments/y-1", *captured(*refunds))
    await happened(dataset, "payments/y-2", *captured(order_id="o-1"))
    assert await laws(dataset) == []


async def test_a_refund_that_comes_while_verify_waits_is_in_time(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    await happened(dataset, "orders/o-100", shop.placed("o-100"), CANCELLED)
    await happened(dataset, "payments/y-1", *captured())
    compared, compare = asyncio.Event(), LawCheck.compare

    def comparing(check: LawCheck) -> None:
        compare(check)
        assert check.broken
        compared.set()

    monkeypatch.setattr(LawCheck, "compare", comparing)
    verifying = asyncio.create_task(dataset.verify(options=replace(QUICK, max_wait_s=20)))
    await asyncio.wait_for(compared.wait(), 30)
    refund = [payments.refunded(400, order_id="o-100")]
    await dataset.append_events({"payments/y-1": refund}, after=2)
    await dataset.apply({"payments/y-1": refund}, after=2)
    report = await verifying
    assert report.equal, report.findings


async def test_more_refunded_than_captured_is_found(dataset: Dataset) -> None:
    await happened(dataset, "payments/y-1", *captured(400, 1))
    assert await laws(dataset) == [(EVENT_STORE, "orders/o-100", "401 is refunded of 400 that was captured")]


async def test_stock_that_was_reserved_out_of_nothing_is_found_in_the_event_store(dataset: Dataset) -> None:
    made_up = shop.reserved("p-9", quantity=3, stock=2, reserved=3)
    await happened(dataset, "products/p-9", shop.created("p-9"), shop.received("p-9", quantity=2, stock=2), made_up)
    assert await laws(dataset) == [(EVENT_STORE, "products/p-9", "3 units are reserved of 2 in stock")]


async def test_a_read_model_that_counts_wrongly_is_found_though_its_rows_are_what_it_makes_of_the_events(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = replace(products.DOCUMENTS.rules[StockReserved], fields=lambda data: {"stock": data.stock, "reserved": 0})
    monkeypatch.setitem(cast(dict[Any, Any], projection.RULES), StockReserved, (products.DOCUMENTS, wrong))
    facts = [shop.created("p-9"), shop.received("p-9", quantity=5, stock=5), shop.reserved("p-9", stock=5)]
    await happened(dataset, "products/p-9", *facts)
    report = await dataset.verify(options=BRIEF)
    [finding] = report.findings
    assert (finding.projection, finding.kind, finding.place) == ("summary", Kind.LAW, "products/p-9")
    assert finding.detail == {
        "table": "products",
        "law": "stock-is-conserved",
        "field": "reserved",
        "expected": 2,
        "found": 0,
    }


async def test_a_product_of_which_events_were_discarded_is_not_held_to_what_they_stated(dataset: Dataset) -> None:
    facts = [shop.created("p-9"), shop.received("p-9", quantity=5, stock=5), shop.received("p-9", quantity=2, stock=7)]
    await dataset.append_events({"products/p-9": facts})
    await dataset.apply({"products/p-9": facts[:1]})
    await dataset.discard("products/p-9", 2)
    await dataset.apply({"products/p-9": facts[2:]}, after=2)
    report = await dataset.verify(options=BRIEF)
    assert {one.kind for one in report.findings} == {Kind.DISCARDED}
    assert report.equal


async def test_commands_of_processes_without_an_outcome_are_found(dataset: Dataset) -> None:
    settings = dataset.settings
    for name in NAMES:
        await migrate(name, settings.processes_url())
    schema = folder_of("fulfilment")
    connection = await asyncpg.connect(settings.processes_url(), server_settings={"search_path": schema})
    try:
        await connection.execute("TRUNCATE commands")
        await connection.execute(SENT, "o-1", '{"accepted": true}')
        assert await laws(dataset) == []
        await connection.execute(SENT, "o-2", None)
        report = await dataset.verify(options=BRIEF)
    finally:
        await connection.execute("TRUNCATE commands")
        await connection.close()
    [finding] = report.findings
    assert (finding.projection, finding.kind, finding.place) == ("fulfilment", Kind.LAW, "o-2")
    assert (finding.detail["law"], finding.detail["key"]) == (LAW, "confirm")
    assert not report.equal


async def test_without_a_database_of_processes_nothing_is_asked_of_it(dataset: Dataset) -> None:
    without = dataset.settings.model_copy(update={"processes_db_url": "", "read_db_url": ""})
    assert await unanswered(without, BRIEF) == []
