"""What an order borrows from its customer and its products when it is placed, and keeps until it is cancelled."""

import json
from datetime import UTC, datetime
from itertools import count
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from command_service.domain.aggregates import AGGREGATES, BY_COMMAND
from command_service.domain.customers import AGGREGATE as CUSTOMERS
from command_service.domain.customers import Customer
from command_service.handling.borrowing import BorrowedFacts, borrowed_streams
from command_service.handling.decision import Batch, LoadedStreams, StoredStream, decide
from command_service.handling.parsing import Command, read
from tests.personal_keys import EVERY_KEY

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEYS = count(1)
FACTS = {"customers/c": "North", "products/p": "Tea", "products/q": "Cups"}


def command(type_: str, data: dict[str, Any], subject: str | None = None) -> Command:
    element = {"specversion": "1.0", "id": f"k-{next(KEYS)}", "source": "test", "type": type_}
    (part,) = read(json.dumps(element | {"data": data} | ({"subject": subject} if subject else {})).encode()).parts
    assert isinstance(part, Command), part
    return part


def place(order: str = "o", customer: str = "c", products: tuple[str, ...] = ("p", "q", "r")) -> Command:
    lines = [{"product_id": product, "quantity": 1, "amount": 5} for product in products]
    data = {"order_id": order, "customer_id": customer, "currency": "EUR", "lines": lines}
    return command("orders.place-order", data)


def move(region: str, customer: str = "c") -> Command:
    return command("customers.change-region", {"region": region}, customer)


def register(customer: str = "c", **data: str) -> Command:
    return command("customers.register-customer", {"customer_id": customer, "name": "Ann"} | data)


def create(product: str, category: str) -> Command:
    data = {"product_id": product, "name": "x", "category": category, "price": 1, "currency": "EUR"}
    return command("catalog.create-product", data)


def loaded(**facts: Any) -> LoadedStreams:
    return LoadedStreams(keys=EVERY_KEY, facts=BorrowedFacts(**facts))


def sales(batch: Batch) -> list[tuple[str | None, list[str | None]]]:
    """The region, and the categories of the lines, of each event about a whole order."""
    found = [json.loads(event.envelope)["data"] for event in batch.events if event.stream.startswith("orders/")]
    return [(each.get("region"), [line.get("category") for line in each["lines"]]) for each in found if "lines" in each]


def test_the_event_records_region_and_categories_and_the_cancellation_repeats_them() -> None:
    batch = decide([place(), command("orders.cancel-order", {"reason": "no"}, "o")], loaded(known=FACTS), NOW)
    assert sales(batch) == [("North", ["Tea", "Cups", None])] * 2


def test_a_fact_that_is_unknown_is_absent() -> None:
    batch = decide([place(customer="d", products=("r",))], loaded(known=FACTS), NOW)
    assert sales(batch) == [(None, [None])]
    assert "region" not in batch.events[0].envelope
    assert "category" not in batch.events[0].envelope


def test_an_order_sees_what_commands_before_it_in_its_batch_have_changed_and_nothing_later() -> None:
    known = loaded(known={"products/p": "Tea"})
    batch = decide(
        [
            place("o-1"),
            register(region="South"),
            create("r", "Spoons"),
            place("o-2"),
            move("West"),
            command("catalog.update-product", {"category": "Cutlery"}, "r"),
            place("o-3"),
        ],
        known,
        NOW,
    )
    assert sales(batch) == [
        (None, ["Tea", None, None]),
        ("South", ["Tea", None, "Spoons"]),
        ("West", ["Tea", None, "Cutlery"]),
    ]
    assert known.facts.known == {"products/p": "Tea"}, "deciding again starts from what was loaded"


def test_a_refused_change_changes_no_fact() -> None:
    batch = decide([move("South"), place(products=("p",))], loaded(known=FACTS), NOW)
    assert sales(batch) == [("North", ["Tea"])]


def test_the_state_keeps_the_facts_between_batches() -> None:
    first = decide([place()], loaded(known=FACTS), NOW)
    order = BY_COMMAND[type(place().task.data)]  # type: ignore[union-attr]
    stored = StoredStream(1, first.streams["orders/o"].state_json("orders/o", EVERY_KEY), order.state_version)
    cancel = command("orders.cancel-order", {"reason": "no"}, "o")
    assert sales(decide([cancel], LoadedStreams(keys=EVERY_KEY, streams={"orders/o": stored}), NOW)) == [
        ("North", ["Tea", "Cups", None])
    ]


def test_state_that_is_too_old_is_replayed_first_and_stored() -> None:
    known = loaded(outdated={"customers/c"})
    known.streams = {"customers/c": StoredStream(1, '{"customer_id":"c","name":"Ann","email":null}', 1)}
    assert decide([place()], known, NOW).outdated == {"customers/c": CUSTOMERS}
    known.replayed["customers/c"] = Customer(customer_id="c", name="Ann", email=None, region="East")
    batch = decide([place(), move("West"), place("o-2")], known, NOW)
    assert batch.is_complete
    assert [region for region, _ in sales(batch)] == ["East", "West"]
    assert [name for name, _ in decide([place()], known, NOW).restored_streams()] == ["customers/c"]


def test_a_stream_that_cannot_be_replayed_leaves_its_fact_unknown() -> None:
    known = loaded(known=FACTS, outdated={"customers/d"})
    known.streams = {"customers/d": StoredStream(1, "{}", 1)}
    known.replayed["customers/d"] = LookupError("no events")
    batch = decide([place(customer="d"), place("o-2")], known, NOW)
    assert batch.is_complete
    assert [region for region, _ in sales(batch)] == [None, "North"]


def test_only_commands_that_borrow_cause_a_read() -> None:
    assert borrowed_streams([register(), move("West"), create("p", "Tea")]) == set()
    orders = [place(), register(), place("o-2", products=("p",))]
    assert borrowed_streams(orders) == {"customers/c", "products/p", "products/q", "products/r"}


def test_every_borrowed_field_is_one_of_the_lender_s_state() -> None:
    states = {aggregate.kind: aggregate.state for aggregate in AGGREGATES}
    for aggregate in AGGREGATES:
        for each in (one for several in aggregate.borrows.values() for one in several):
            assert each.field in states[each.kind].__struct_fields__


@given(st.lists(st.sampled_from(["North", "South", "East"]), max_size=6), st.data())
def test_the_region_of_an_order_is_the_last_one_before_it_however_commands_are_batched(
    regions: list[str], data: st.DataObject
) -> None:
    commands = [register(), place("o-0", products=("p",))]
    for number, region in enumerate(regions, 1):
        commands += [move(region), place(f"o-{number}", products=("p",))]
    cut = data.draw(st.integers(0, len(commands)))
    first = decide(commands[:cut], LoadedStreams(keys=EVERY_KEY), NOW)
    streams = {
        name: StoredStream(current.version, current.state_json(name, EVERY_KEY), current.aggregate.state_version)
        for name, current in first.streams.items()
    }
    second = decide(commands[cut:], LoadedStreams(keys=EVERY_KEY, streams=streams, facts=first.facts), NOW)
    found = [region for batch in (first, second) for region, _ in sales(batch)]
    # A move to the region where the customer is already is accepted and changes nothing; its order is counted there all the same.
    assert found == [None, *regions]
