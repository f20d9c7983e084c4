"""What a process manager's store guarantees to processes; see ``projectors.process_runtime.store``."""

import asyncio

import pytest

from projectors.process_runtime.outcomes import receive
from projectors.process_runtime.timers import Timers
from projectors.processes.process import Act, Rules, Send, TimerInput
from projectors.stores.port import Commit, ProjectionError, StalePositionError, StoreUnavailableError
from shared.runtime.outage import OutageRetry
from shared.views.processes import MAX_NUMBER, PROCESSES_PAGE
from tests import shop
from tests.integration.processes.conftest import Parcels
from tests.process_manager import PARCEL, POISON, RULES, changed, decide, evolve


def timers_of(parcels: Parcels) -> Timers:
    return Timers(parcels.store, OutageRetry("the store", lambda error: isinstance(error, StoreUnavailableError)))


async def test_a_start_is_written_with_its_command_and_its_timer(parcels: Parcels) -> None:
    await parcels.event("orders/o-1", shop.placed())
    row = await parcels.row("o-1")
    assert (row["status"], row["version"], row["waiting_for"], row["received"], row["decided"]) == (
        "running",
        1,
        ["payment"],
        1,
        1,
    )
    assert await parcels.commands("o-1") == ["pay"]
    assert await parcels.timers("o-1") == ["payment"]
    due_in = await parcels.db.fetchval("SELECT extract(epoch FROM due_at - now())::float8 FROM timers")
    assert 20 < due_in <= 30


async def test_an_event_that_is_delivered_twice_is_decided_once(parcels: Parcels) -> None:
    start = Commit([shop.run("orders/o-1", shop.placed())])
    await parcels.store.commit(start)
    with pytest.raises(StalePositionError):
        await parcels.store.commit(start)
    assert await parcels.commands("o-1") == ["pay"]


async def test_what_arrives_before_the_start_waits_for_it_and_follows_it_in_order(parcels: Parcels) -> None:
    await parcels.customer("o-1", "Ada", "Bob")
    assert (await parcels.row("o-1"))["status"] == "awaiting-start"
    await parcels.customer("o-1", "Cleo")
    await parcels.event("orders/o-1", shop.placed(), shop.paid())
    assert await parcels.seen("o-1") == [
        "OrderPlaced",
        "CustomerRegistered Ada",
        "CustomerRenamed Bob",
        "CustomerRenamed Cleo",
        "OrderPaid",
    ]
    assert (await parcels.row("o-1"))["status"] == "running"
    history = await parcels.db.fetch("SELECT number, decided FROM inputs WHERE process = 'o-1' ORDER BY decided")
    assert [row["number"] for row in history] == [4, 1, 2, 3, 5]


async def test_events_of_a_stream_whose_start_was_for_no_process_are_for_none(parcels: Parcels) -> None:
    only_marked = changed(correlate=lambda given: "o-1" if given.version > 1 else None)
    other = parcels.redeployed(only_marked)
    await other.event("orders/o-1", shop.placed(), shop.paid())
    assert await parcels.db.fetchval("SELECT count(*) FROM processes") == 0
    await other.store.close()


async def test_a_start_that_comes_twice_is_an_input_like_any_other(parcels: Parcels) -> None:
    await parcels.event("orders/o-1", shop.placed())
    await parcels.event("orders/o-1", shop.placed())
    assert await parcels.seen("o-1") == ["OrderPlaced", "OrderPlaced"]
    assert await parcels.timers("o-1") == ["payment"]


async def test_cancelling_a_timer_is_part_of_the_decision(parcels: Parcels) -> None:
    await parcels.event("orders/o-1", shop.placed(), shop.paid())
    assert await parcels.timers("o-1") == []
    assert await parcels.commands("o-1") == ["pay", "ship"]
    assert (await parcels.row("o-1"))["waiting_for"] == ["delivery"]


async def test_a_due_timer_fires_once_and_finishes_what_it_finishes(parcels: Parcels) -> None:
    await parcels.event("orders/o-1", shop.placed())
    await parcels.event("orders/o-2", shop.placed("o-2"))
    await parcels.due_now()
    timers = timers_of(parcels)
    await asyncio.gather(timers.fire(), timers.fire(), timers.fire())
    assert await timers.fire() > 0
    for process in ("o-1", "o-2"):
        assert await parcels.seen(process) == ["OrderPlaced", "timer payment"]
        assert await parcels.commands(process) == ["pay", "cancel"]
        row = await parcels.row(process)
        assert (row["status"], row["result"], row["waiting_for"]) == ("done", "too late", [])
    assert await parcels.db.fetchval("SELECT count(*) FROM timers") == 0


async def test_timers_that_are_not_due_wait(parcels: Parcels) -> None:
    await parcels.event("orders/o-1", shop.placed())
    assert 0 < await timers_of(parcels).fire() <= 0.5
    assert await parcels.seen("o-1") == ["OrderPlaced"]


@pytest.mark.parametrize("first", ["again", "cancel"])
async def test_the_token_of_a_timer_that_was_set_again_or_whose_process_is_done_is_stale(
    parcels: Parcels, first: str
) -> None:
    await parcels.event("orders/o-1", shop.placed())
    await parcels.due_now()
    async with parcels.store.transaction() as connection:
        due = await connection.fetch("SELECT process, token, name FROM timers")
    await parcels.customer("o-1", first)
    async with parcels.store.transaction() as connection:
        given = TimerInput(due[0]["token"], shop.NOON, due[0]["name"])
        await parcels.store.handle(connection, [("o-1", given)])
    assert await parcels.seen("o-1") == ["OrderPlaced", f"CustomerRegistered {first}"]
    assert await parcels.db.fetchval("SELECT value FROM counters WHERE name = 'stale-timer'") == 1
    assert await parcels.timers("o-1") == (["payment"] if first == "again" else [])


async def test_an_outcome_is_an_input_once_and_settles_its_command(parcels: Parcels) -> None:
    await parcels.event("orders/o-1", shop.placed())
    outcome = await parcels.outcome("o-1", "pay")
    await receive(parcels.store, [outcome, outcome])
    await receive(parcels.store, [outcome])
    assert await parcels.seen("o-1") == ["OrderPlaced", "pay accepted"]
    (row,) = await parcels.db.fetch("SELECT outcome->>'stream' AS stream, resend_at FROM commands")
    assert (row["stream"], row["resend_at"]) == ("orders/o-1", None)


async def test_a_rejected_command_is_an_outcome_with_its_code(parcels: Parcels) -> None:
    await parcels.event("orders/o-1", shop.placed())
    await receive(parcels.store, [await parcels.outcome("o-1", "pay", code="order-not-payable")])
    assert (await parcels.row("o-1"))["result"] == "refused"
    code = await parcels.db.fetchval("SELECT body->>'code' FROM inputs WHERE kind = 'outcome'")
    assert code == "order-not-payable"


async def test_poison_fails_its_process_only_and_a_retry_goes_on_in_order(parcels: Parcels) -> None:
    await parcels.event("orders/o-1", shop.placed())
    await parcels.event("orders/o-2", shop.placed("o-2"))
    await parcels.customer("o-1", "poison")
    await parcels.event("orders/o-1", shop.paid())
    await receive(parcels.store, [await parcels.outcome("o-1", "pay")])
    await parcels.event("orders/o-2", shop.paid("o-2"))
    row = await parcels.row("o-1")
    assert (row["status"], row["received"], row["decided"]) == ("failed", 4, 1)
    assert "PoisonError: this input is poison" in row["failure"]
    assert await parcels.seen("o-2") == ["OrderPlaced", "OrderPaid"]
    assert await parcels.db.fetchval("SELECT count(*) FROM held") == 0, "no stream is held"
    assert await parcels.commands("o-1") == ["pay"]

    await parcels.operator("o-1", Act.RETRY, "too-early")
    assert (await parcels.row("o-1"))["status"] == "failed"
    POISON["active"] = False
    await parcels.operator("o-1", Act.RETRY, "after-the-fix")
    assert await parcels.seen("o-1") == ["OrderPlaced", "CustomerRegistered poison", "OrderPaid", "pay accepted"]
    row = await parcels.row("o-1")
    assert (row["status"], row["failure"]) == ("running", None)
    assert await parcels.commands("o-1") == ["pay", "ship"]


async def test_a_failed_process_holds_its_timers_until_the_retry(parcels: Parcels) -> None:
    await parcels.event("orders/o-1", shop.placed())
    await parcels.customer("o-1", "poison")
    await parcels.due_now()
    await timers_of(parcels).fire()
    assert await parcels.seen("o-1") == ["OrderPlaced"]
    await parcels.event("orders/o-1", shop.paid())  # cancels it, once it is decided
    POISON["active"] = False
    await parcels.operator("o-1", Act.RETRY)
    await timers_of(parcels).fire()
    assert await parcels.seen("o-1") == ["OrderPlaced", "CustomerRegistered poison", "OrderPaid"]
    assert await parcels.timers("o-1") == []


async def test_a_timer_on_which_its_process_fails_is_decided_first_by_the_retry(parcels: Parcels) -> None:
    def explode(state: object, given: object) -> object:
        raise RuntimeError("not written yet")

    await parcels.event("orders/o-1", shop.placed())
    await parcels.due_now()
    broken = parcels.redeployed(changed(rules=Rules(explode, decide)))  # type: ignore[arg-type]
    await timers_of(broken).fire()
    await parcels.customer("o-1", "Ada")
    assert (await parcels.row("o-1"))["status"] == "failed"
    await parcels.operator("o-1", Act.RETRY)
    assert await parcels.seen("o-1") == ["OrderPlaced", "timer payment", "CustomerRegistered Ada"]
    await broken.store.close()


async def test_inputs_of_one_process_that_come_at_once_are_decided_one_after_another(parcels: Parcels) -> None:
    others = [parcels.redeployed(PARCEL) for _ in range(4)]
    await parcels.event("orders/o-1", shop.placed())
    outcome = await parcels.outcome("o-1", "pay")
    await asyncio.gather(
        *(receive(each.store, [outcome]) for each in others),
        parcels.customer("o-1", "Ada", "Bob", "Cleo"),
        parcels.event("orders/o-1", shop.paid()),
    )
    seen = await parcels.seen("o-1")
    assert sorted(seen) == sorted(
        [
            "OrderPlaced",
            "pay accepted",
            "CustomerRegistered Ada",
            "CustomerRenamed Bob",
            "CustomerRenamed Cleo",
            "OrderPaid",
        ]
    )
    for each in others:
        await each.store.close()


async def test_many_starts_in_one_commit_are_one_transaction(parcels: Parcels) -> None:
    await parcels.store.commit(
        Commit([shop.run(f"orders/o-{n}", shop.placed(f"o-{n}"), shop.paid(f"o-{n}")) for n in range(300)])
    )
    assert await parcels.db.fetchval("SELECT count(*) FROM processes WHERE decided = 2") == 300
    assert await parcels.db.fetchval("SELECT count(*) FROM commands") == 600


async def test_a_correlation_that_raises_holds_its_stream(parcels: Parcels) -> None:
    def correlate(given: object) -> str:
        raise KeyError("order_id")

    broken = parcels.redeployed(changed(correlate=correlate))
    with pytest.raises(ProjectionError, match="orders/o-1@1"):
        await broken.event("orders/o-1", shop.placed())
    nameless = parcels.redeployed(changed(correlate=lambda _: "orders/o-1"))
    with pytest.raises(ProjectionError):
        await nameless.event("orders/o-1", shop.placed())
    assert await parcels.db.fetchval("SELECT count(*) FROM positions") == 0
    await broken.store.close()
    await nameless.store.close()


async def test_after_done_a_late_input_still_sends_commands_but_sets_no_timer(parcels: Parcels) -> None:
    await parcels.event("orders/o-1", shop.placed())
    await parcels.customer("o-1", "cancel")
    await parcels.event("orders/o-1", shop.paid())
    row = await parcels.row("o-1")
    assert (row["status"], row["result"], row["waiting_for"]) == ("done", "cancelled", [])
    assert await parcels.commands("o-1") == ["pay", "ship"]
    await parcels.customer("o-1", "again")
    row = await parcels.row("o-1")
    assert row["status"] == "failed"
    assert "a finished process sets no timer" in row["failure"]


async def test_what_a_decision_may_not_do_fails_its_process(parcels: Parcels) -> None:
    def misspelt(state: object, given: object) -> list[object]:
        return [Send("orders.no-such-command", "o-1", {}, "x")]

    other = parcels.redeployed(changed(rules=Rules(evolve, misspelt)))  # type: ignore[arg-type]
    await other.event("orders/o-1", shop.placed())
    row = await parcels.row("o-1")
    assert (row["status"], row["state"]) == ("failed", None)
    assert "orders.no-such-command" in row["failure"]
    await other.store.close()


async def test_the_rules_are_those_of_the_version_that_a_process_began_with(parcels: Parcels) -> None:
    await parcels.event("orders/o-1", shop.placed())
    silent = Rules(evolve, lambda state, given: [], RULES.waiting_for)
    newer = parcels.redeployed(changed(version=2, rules=silent, earlier={1: RULES}))
    await newer.event("orders/o-2", shop.placed("o-2"))
    await newer.event("orders/o-1", shop.paid())
    await newer.event("orders/o-2", shop.paid("o-2"))
    assert await parcels.commands("o-1") == ["pay", "ship"]
    assert await parcels.commands("o-2") == []
    gone = parcels.redeployed(changed(version=2, rules=silent))
    await gone.event("orders/o-1", shop.delivered())
    assert "the rules of version 1 are gone" in (await parcels.row("o-1"))["failure"]
    await newer.store.close()
    await gone.store.close()


@pytest.mark.parametrize("keys", [["stock"], ['a "b"', "c,{d} 'e'", "f\\g", "NULL", "緑茶\nh"]])
async def test_what_a_process_waits_for_is_found_whatever_its_keys_are_until_it_is_done(
    parcels: Parcels, keys: list[str]
) -> None:
    other = parcels.redeployed(changed(rules=Rules(evolve, decide, lambda _: keys)))
    await other.event("orders/o-1", shop.placed())
    assert (await parcels.row("o-1"))["waiting_for"] == keys
    for key in keys:
        [found] = await parcels.db.fetch(PROCESSES_PAGE, None, key, MAX_NUMBER, 10)
        assert found["process_id"] == "o-1"
    assert await parcels.db.fetch(PROCESSES_PAGE, None, "nothing", MAX_NUMBER, 10) == []
    await other.event("orders/o-1", shop.delivered())
    assert (await parcels.row("o-1"))["waiting_for"] == []
    assert await parcels.db.fetch(PROCESSES_PAGE, None, keys[0], MAX_NUMBER, 10) == []
    await other.store.close()
