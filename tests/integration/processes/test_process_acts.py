"""Operators' requests about processes, and moving processes to other rules."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import json as msgspec_json

from projectors.process_runtime import acts, rows
from projectors.process_runtime.migrating import evolved_again
from projectors.process_runtime.outcomes import receive
from projectors.process_runtime.store import ProcessStore
from projectors.processes.process import ProcessState, Rules
from shared.messages.control import Request
from shared.messages.process_acts import PROCESS_ACT, ActName, ActOnProcess, ProcessAnswer
from shared.messaging.broker import Outgoing
from shared.messaging.consuming import Delivery
from tests import shop
from tests.integration.processes.conftest import Parcels
from tests.process_manager import NAME, POISON, RULES, changed, decide


def delivery(body: bytes, *, reply_to: str = "reply.test") -> Delivery:
    return Delivery("control.processes", body, {}, "", "process-act", reply_to, "corr", False, 1, None)  # type: ignore[arg-type]


async def ask(
    parcels: Parcels, act: ActName, process: str = "o-1", *, request: str = "r-1", manager: str = NAME
) -> Any:
    """The answer's data, and how often it is to be audited."""
    data = ActOnProcess(manager=manager, process_id=process, act=act, actor="ann", reason="because")
    envelope = Request[ActOnProcess](id=request, source="tests", type=PROCESS_ACT, time=datetime.now(UTC), data=data)
    stores: Mapping[str, ProcessStore] = {NAME: parcels.store}
    outgoing = await acts.execute(stores, delivery(envelope.model_dump_json().encode()))
    return answer_in(outgoing), len(outgoing) - 1


def answer_in(outgoing: list[Outgoing]) -> Any:
    answer = outgoing[-1]
    assert (answer.routing_key, answer.correlation_id) == ("reply.test", "corr")
    return ProcessAnswer.model_validate_json(answer.body).data


async def test_a_cancellation_is_an_input_once_and_is_audited(parcels: Parcels) -> None:
    await parcels.event("orders/o-1", shop.placed())
    for _ in range(2):
        answer, audited = await ask(parcels, "cancel")
        assert (answer.status, answer.result, audited) == ("done", "cancelled by an operator", 1)
    assert await parcels.seen("o-1") == ["OrderPlaced", "operator cancel"]
    answer, audited = await ask(parcels, "cancel", request="r-2")
    assert (answer.code, audited) == ("process-done", 0)
    answer, _ = await ask(parcels, "compensate", request="r-3")
    assert answer.status == "done"
    assert (await parcels.seen("o-1"))[-1] == "operator compensate"


async def test_what_cannot_be_acted_on_is_refused(parcels: Parcels) -> None:
    await parcels.customer("o-1", "Ada")
    assert (await ask(parcels, "cancel", "o-2"))[0].code == "process-not-found"
    assert (await ask(parcels, "cancel"))[0].code == "process-not-started"
    assert (await ask(parcels, "cancel", manager="nope"))[0].code == "unknown-process-manager"
    stores = {NAME: parcels.store}
    (unreadable,) = await acts.execute(stores, delivery(b"{}"))
    assert answer_in([unreadable]).code == "validation-failed"
    assert await acts.execute(stores, delivery(b"{}", reply_to="commands")) == []


async def test_a_failed_process_is_retried_and_keeps_other_acts_behind_its_failure(parcels: Parcels) -> None:
    await parcels.event("orders/o-1", shop.placed())
    await parcels.customer("o-1", "poison")
    answer, _ = await ask(parcels, "cancel")
    assert answer.status == "failed"
    POISON["active"] = False
    answer, _ = await ask(parcels, "retry", request="r-2")
    assert (answer.status, answer.result) == ("done", "cancelled by an operator")
    assert await parcels.seen("o-1") == ["OrderPlaced", "CustomerRegistered poison", "operator cancel"]
    history = await parcels.db.fetch("SELECT kind, decided FROM inputs ORDER BY number")
    assert [(row["kind"], row["decided"]) for row in history] == [
        ("event", 1),
        ("event", 2),
        ("operator", 3),
        ("operator", 0),
    ]


class Parcel2(ProcessState, frozen=True, kw_only=True):
    """The state after a change of its shape: ``order_id`` is called ``order``, and inputs are counted."""

    order: str
    inputs: int = 0


def evolve2(state: Parcel2 | None, given: Any) -> Parcel2:
    if state is None:
        return Parcel2(order=given.data.order_id, inputs=1)
    return Parcel2(order=state.order, inputs=state.inputs + 1)


LATER = Rules(evolve2, lambda state, given: [], lambda state: ["the end"])


def lifted(state: Mapping[str, Any]) -> dict[str, Any]:
    return {"order": state["order_id"], "inputs": len(state["seen"])}


async def test_an_upcaster_lifts_state_to_its_current_shape(parcels: Parcels) -> None:
    await parcels.event("orders/o-1", shop.placed())
    newer = parcels.redeployed(changed(state=Parcel2, state_version=2, upcasters={1: lifted}, rules=LATER))
    await newer.event("orders/o-1", shop.paid())
    row = await parcels.row("o-1")
    assert (msgspec_json.decode(row["state"]), row["state_version"]) == ({"order": "o-1", "inputs": 2}, 2)
    await newer.store.close()


async def test_without_an_upcaster_only_the_processes_that_need_it_fail(parcels: Parcels) -> None:
    await parcels.event("orders/o-1", shop.placed())
    newer = parcels.redeployed(changed(state=Parcel2, state_version=2, rules=LATER))
    await newer.event("orders/o-1", shop.paid())
    await newer.event("orders/o-2", shop.placed("o-2"))
    row = await parcels.row("o-1")
    assert (row["status"], row["state_version"]) == ("failed", 1)
    assert "no upcaster for the state" in row["failure"]
    assert (await parcels.row("o-2"))["status"] == "running"
    await newer.store.close()


async def test_migrating_evolves_the_history_again_and_emits_nothing(parcels: Parcels) -> None:
    await parcels.event("orders/o-1", shop.placed())
    await receive(parcels.store, [await parcels.outcome("o-1", "pay")])
    loud = Rules(evolve2, decide, LATER.waiting_for)
    newer = parcels.redeployed(changed(version=2, state=Parcel2, state_version=2, rules=loud, earlier={1: RULES}))
    process = await rows.read(parcels.db, "o-1")
    assert process is not None
    found = await evolved_again(parcels.db, newer.store.manager, process)
    assert list(found.changes) == ["version", "state_version", "state", "waiting_for"]
    assert (await parcels.row("o-1"))["version"] == 1, "a dry run changes nothing"

    answer, audited = await ask(newer, "migrate")
    assert (answer.waiting_for, audited) == (["the end"], 1)
    row = await parcels.row("o-1")
    assert (msgspec_json.decode(row["state"]), row["version"], row["state_version"]) == (
        {"order": "o-1", "inputs": 2},
        2,
        2,
    )
    assert await parcels.commands("o-1") == ["pay"]
    assert await parcels.timers("o-1") == ["payment"]
    assert (await ask(newer, "migrate", request="r-2"))[0].code == "nothing-to-migrate"
    await newer.store.close()


async def test_what_the_current_rules_cannot_read_is_not_migrated(parcels: Parcels) -> None:
    await parcels.event("orders/o-1", shop.placed())
    POISON["active"] = False
    await parcels.customer("o-1", "poison")
    POISON["active"] = True
    newer = parcels.redeployed(changed(version=2))
    answer, audited = await ask(newer, "migrate")
    assert (answer.code, audited) == ("cannot-migrate", 0)
    assert "customers/for-o-1@1" in answer.message
    assert (await parcels.row("o-1"))["version"] == 1
    await newer.store.close()


@pytest.mark.parametrize("broken", [True, False])
async def test_rebuilding_state_of_the_same_version_repairs_it(parcels: Parcels, broken: bool) -> None:
    await parcels.event("orders/o-1", shop.placed(), shop.paid())
    if broken:
        await parcels.db.execute("""UPDATE processes SET state = '{"order_id": "x", "seen": []}'""")
    answer, _ = await ask(parcels, "migrate")
    if broken:
        assert await parcels.seen("o-1") == ["OrderPlaced", "OrderPaid"]
    else:
        assert answer.code == "nothing-to-migrate"
    assert await parcels.commands("o-1") == ["pay", "ship"]
