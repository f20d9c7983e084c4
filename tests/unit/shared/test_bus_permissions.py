"""The broker's permissions, generated from what each deployable declares, against tables written by hand: who may do what."""

import re
from itertools import product

import pytest

from shared.messaging import access, topology
from shared.messaging.access import ACCESS, ADMINISTRATOR, may_send, sender, user_of
from shared.messaging.permissions import NOTHING, Permissions, of_deployables, permissions

USERS = {name: permissions(each) for name, each in ACCESS.items()}
QUEUES = [queue.name for queue in topology.declarations(4).queues]
EXCHANGES = topology.declarations(4).exchanges
PROJECTORS = topology.PROJECTORS
SUBSCRIBERS = topology.SUBSCRIBERS
PROCESS_MANAGERS = [name for name in SUBSCRIBERS if name not in PROJECTORS]


def matches(expression: str, name: str) -> bool:
    """As RabbitMQ does: anywhere in the name, unless the expression says otherwise."""
    return re.search(expression, name) is not None


def publishers(exchange: str, key: str) -> set[str]:
    return {
        name
        for name, each in USERS.items()
        if matches(each.write, exchange) and matches(each.topics.get(exchange, (".*", ".*"))[0], key)
    }


def listeners(exchange: str, key: str) -> set[str]:
    return {
        name
        for name, each in USERS.items()
        if matches(each.read, exchange) and matches(each.topics.get(exchange, (".*", ".*"))[1], key)
    }


def deployable_of(subscriber: str) -> str:
    return "processes" if subscriber in PROCESS_MANAGERS else subscriber


CONSUMERS = {
    "commands": "worker",
    "commands.dead": "dead_letters",
    "control.resend": "relay",
    "control.history": "relay",
    "control.operations": "dead_letters",
    "control.processes": "processes",
    "replies.processes": "processes",
    "dead_letters.passed": "dead_letters",
    **{f"{name}.{lane}": deployable_of(name) for name, lane in product(SUBSCRIBERS, range(4))},
    **{f"control.{name}": deployable_of(name) for name in SUBSCRIBERS},
    **{f"{name}.history": name for name in PROJECTORS},
    **{f"{name}.dead": "dead_letters" for name in SUBSCRIBERS},
    **{f"{name}.retry.{tier}": "nobody: their messages expire" for name in SUBSCRIBERS for tier in ("1s", "5s", "25s")},
}


@pytest.mark.parametrize("queue", QUEUES)
def test_a_queue_is_read_by_its_one_consumer(queue: str) -> None:
    found = {name for name, each in USERS.items() if matches(each.read, queue)}
    assert found == {CONSUMERS[queue]} - {"nobody: their messages expire"}


def test_no_deployable_may_declare_or_delete_anything_of_the_topology() -> None:
    names = [*QUEUES, *EXCHANGES, "anything"]
    assert {(user, name) for user, name in product(USERS, names) if matches(USERS[user].configure, name)} == set()
    own = {name: each.configure for name, each in USERS.items() if each.configure != NOTHING}
    gen = r"^(amq\.gen-.+)$"
    assert own == {"http": gen, "query": gen, "payment_provider": "^(payment-provider)$"}


@pytest.mark.parametrize("key", ["lane.0", "lane.255", *(f"{name}.lane.3" for name in SUBSCRIBERS), "summary.history"])
def test_only_the_relay_publishes_events(key: str) -> None:
    assert publishers(topology.EVENTS, key) == {"relay"}


def test_the_relay_publishes_events_to_nothing_but_lanes_and_histories() -> None:
    assert not any(
        publishers(topology.EVENTS, key) for key in ("lane.x", "lane", "lane.1.2", "summary", "other.lane.1")
    )


def test_only_the_worker_may_write_to_queues_past_the_exchanges() -> None:
    assert {name for name, each in USERS.items() if matches(each.write, access.DEFAULT_EXCHANGE)} == {"worker"}


@pytest.mark.parametrize(
    ("exchange", "key", "who"),
    [
        ("commands", "orders.place-order", {"http", "processes", "dead_letters", "relay"}),
        ("commands", "payments.capture-payment", {"http", "processes", "dead_letters", "relay", "payment_provider"}),
        ("outcomes", "rejected.orders.place-order", {"worker"}),
        ("dead", "commands", {"worker"}),
        ("dead", "summary", {"summary"}),
        ("dead", "fulfilment", {"processes"}),
        ("retry.1s", "search.lane.0", {"search"}),
        ("retry.1s", "search.history", set()),
        ("changes", "summary", {"summary"}),
        ("changes", "summary.passed", {"summary"}),
        ("changes", "summary.acted", {"summary"}),
        ("changes", "fulfilment.acted", {"processes"}),
        ("changes", "worker.denied", {"worker"}),
        ("changes", "command_service.denied", {"http"}),
        ("changes", "query_service.denied", {"query"}),
        ("changes", "commands.acted", {"http", "relay"}),
        ("changes", "process.worker", {"worker"}),
        ("changes", "process.query", set()),
        ("control", "replay", {"query"}),
        ("control", "discard", {"query"}),
        ("control", "edit", {"query"}),
        ("control", "steer", {"query"}),
        ("control", "resend", {*PROJECTORS, "processes", "dead_letters"}),
        ("control", "heads", {*PROJECTORS, "processes"}),
        ("control", "history", {*PROJECTORS}),
        ("control", "summary.compared", {"relay"}),
        ("control", "summary.discard", {"dead_letters"}),
        ("control", "summary.inquire", {"dead_letters"}),
        ("control", "annotate", {"query"}),
        ("control", "forbid-acts", {"query"}),
        ("control", "check", {"query"}),
        ("control", "summary.rebuild", {"query"}),
        ("control", "summary.activate", {"query"}),
        ("control", "process-act", {"query"}),
        ("replies", "amq.gen-x", {*PROJECTORS, "processes", "dead_letters"}),
    ],
)
def test_a_routing_key_has_these_publishers(exchange: str, key: str, who: set[str]) -> None:
    assert publishers(exchange, key) == who


@pytest.mark.parametrize(
    ("exchange", "key", "who"),
    [
        ("changes", "summary", {"query"}),
        ("changes", "process.worker", {"query", "http"}),
        ("changes", "process.*", {"query"}),
        ("changes", "#", set()),
        ("changes", "process.#", set()),
        ("replies", "amq.gen-x", {"query"}),
        ("replies", "#", set()),
        ("events", "lane.*", {"payment_provider"}),
        ("events", "#", set()),
        ("commands", "#", set()),
        ("outcomes", "rejected.#", set()),
        ("control", "replay", set()),
        ("dead", "commands", set()),
    ],
)
def test_a_binding_key_has_these_listeners(exchange: str, key: str, who: set[str]) -> None:
    assert listeners(exchange, key) == who


def test_every_user_has_an_entry_for_every_exchange_because_keys_are_free_without_one() -> None:
    for each in USERS.values():
        assert set(each.topics) == set(EXCHANGES)


def test_who_may_read_an_exchange_may_bind_no_queue_of_the_topology_to_it() -> None:
    """Writing to a queue is the right to bind it. The queue ``commands`` has the name of the exchange that its senders write to: the
    worker takes from it what came through that exchange only."""
    readers = [name for name, each in USERS.items() if any(matches(each.read, exchange) for exchange in EXCHANGES)]
    found = {(name, queue) for name in readers for queue in QUEUES if matches(USERS[name].write, queue)}
    # The worker's user reads the exchange ``commands`` with the queue, by name; no key of it.
    assert found <= {("http", "commands"), ("payment_provider", "commands"), ("worker", "commands.dead")}
    assert all(matches(USERS["worker"].topics[exchange][1], "#") is False for exchange in EXCHANGES)


def test_the_administrator_may_do_everything_and_no_deployable_has_its_name() -> None:
    assert of_deployables()[ADMINISTRATOR] == Permissions(".*", ".*", ".*", {})
    assert all(user_of(name) != ADMINISTRATOR for name in ACCESS)


SHOP = permissions(sender("shop", ("orders.*", "catalog.create-product")))


@pytest.mark.parametrize("key", ["orders.place-order", "orders.a.b", "catalog.create-product"])
def test_a_sender_may_publish_its_types(key: str) -> None:
    assert matches(SHOP.write, "commands")
    assert matches(SHOP.topics["commands"][0], key)


@pytest.mark.parametrize(
    "key",
    [
        "payments.capture-payment",
        "orders",
        "ordersx.place-order",
        "xorders.place-order",
        "catalog.create-productx",
        "#",
        "",
    ],
)
def test_a_sender_may_publish_nothing_else(key: str) -> None:
    assert not matches(SHOP.topics["commands"][0], key)


def test_a_sender_has_its_reply_queues_and_the_rejections_of_its_types_and_nothing_else() -> None:
    assert matches(SHOP.configure, "amq.gen-abc")
    assert matches(SHOP.configure, "reply.shop.orders")
    assert matches(SHOP.topics["outcomes"][1], "rejected.orders.#")
    assert not matches(SHOP.topics["outcomes"][1], "rejected.#")
    assert not matches(SHOP.topics["outcomes"][1], "rejected.payments.capture-payment")
    names = [*QUEUES, *EXCHANGES, "amq.default", "reply.shopping.x", "reply.other.x", "reply.shop"]
    assert [name for name in names if matches(SHOP.configure, name)] == []
    assert [name for name in names if matches(SHOP.read, name)] == ["outcomes"]
    assert {name for name in names if matches(SHOP.write, name)} == {"commands"}
    assert {name for name in EXCHANGES if SHOP.topics[name] != (NOTHING, NOTHING)} == {"commands", "outcomes"}


def test_types_are_matched_by_context() -> None:
    assert may_send(("orders.*",), "orders.place-order")
    assert may_send(("*",), "orders.place-order")
    assert may_send(("orders.place-order",), "orders.place-order")
    assert not may_send(("orders.*",), "ordersx.place-order")
    assert not may_send(("orders.*",), "orders")
    assert not may_send(("orders.place-order",), "orders.pay-order")
    assert not may_send((), "orders.pay-order")


def test_no_wildcard_stands_for_an_erasure() -> None:
    assert not may_send(("*", "privacy.*", "privacy.erase-subjects"), "privacy.erase-subject")
    assert may_send(("privacy.erase-subject",), "privacy.erase-subject")
