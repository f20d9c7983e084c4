"""Deciding a batch: in order, each seeing those before it, no one hurting another."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from command_service.domain.customers import AGGREGATE as CUSTOMERS
from command_service.domain.customers import Customer
from command_service.handling.decision import Batch, Failed, LoadedStreams, Outcome, PriorOutcome, StoredStream, decide
from command_service.handling.parsing import Command, read
from command_service.privacy.personal_data import hashed_claim
from shared.contracts.customers import CustomerRegistered
from shared.contracts.registry import event_data
from shared.messages.envelope import ReceivedEvent
from shared.privacy.sealing import opened
from tests.personal_keys import EVERY_KEY

SOUND = '{"customer_id":"c","name":"Ann","email":null}'
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def command(type_: str, key: str, data: dict[str, Any], **attributes: Any) -> Command:
    element = {"specversion": "1.0", "id": key, "source": "test", "type": type_, "data": data} | attributes
    (part,) = read(json.dumps(element).encode()).parts
    assert isinstance(part, Command), part
    return part


def register(key: str, customer: str, email: str | None = None) -> Command:
    data = {"customer_id": customer, "name": "Ann"} | ({"email": email} if email else {})
    return command("customers.register-customer", key, data)


def rename(key: str, customer: str, name: str, **attributes: Any) -> Command:
    return command("customers.rename-customer", key, {"name": name}, subject=customer, **attributes)


def codes(batch: Batch) -> list[str]:
    found = []
    for result in batch.results:
        assert isinstance(result, Outcome)
        data = json.loads(result.body)["data"]
        found.append(data.get("code", f"v{data.get('version')}"))
    return found


def test_commands_of_one_batch_build_on_each_other() -> None:
    batch = decide(
        [register("k1", "c"), rename("k2", "c", "Bea"), rename("k3", "c", "Cleo")], LoadedStreams(keys=EVERY_KEY), NOW
    )
    assert codes(batch) == ["v1", "v2", "v3"]
    assert [(event.stream, event.version) for event in batch.events] == [("customers/c", n) for n in (1, 2, 3)]
    assert batch.streams["customers/c"].version == 3


def test_the_state_in_the_store_is_what_later_batches_decide_on() -> None:
    first = decide([register("k1", "c")], LoadedStreams(keys=EVERY_KEY), NOW)
    state = first.streams["customers/c"].state_json("customers/c", EVERY_KEY)
    known = LoadedStreams(keys=EVERY_KEY, streams={"customers/c": StoredStream(1, state, CUSTOMERS.state_version)})
    assert codes(decide([register("k2", "c"), rename("k3", "c", "Bea")], known, NOW)) == [
        "customer-already-registered",
        "v2",
    ]


def test_the_same_command_twice_in_a_batch_has_one_effect_and_one_outcome() -> None:
    batch = decide([register("k1", "c"), register("k1", "c")], LoadedStreams(keys=EVERY_KEY), NOW)
    assert batch.results[0] == batch.results[1]
    assert len(batch.events) == len(batch.decided) == 1


def test_a_known_command_gets_its_outcome_again_and_writes_nothing() -> None:
    again = register("k1", "c")
    known = LoadedStreams(
        keys=EVERY_KEY, decided={("test", "k1"): PriorOutcome(again.digest, Outcome(b"as before", accepted=False))}
    )
    batch = decide([again], known, NOW)
    assert batch.results == [Outcome(b"as before", accepted=False)]
    assert not batch.decided
    assert not batch.events


def test_the_same_id_with_another_body_is_refused_and_the_first_outcome_stays() -> None:
    batch = decide([register("k1", "c"), register("k1", "d")], LoadedStreams(keys=EVERY_KEY), NOW)
    assert codes(batch) == ["v1", "idempotency-key-reused"]
    assert list(batch.decided) == [("test", "k1")]
    assert batch.decided["test", "k1"][1].accepted


def test_the_expected_version_is_compared_with_what_the_batch_has_made() -> None:
    batch = decide(
        [
            register("k1", "c"),
            rename("k2", "c", "Bea", expectedversion=1),
            rename("k3", "c", "Cleo", expectedversion=1),
            rename("k4", "d", "Dora", expectedversion=3),
        ],
        LoadedStreams(keys=EVERY_KEY),
        NOW,
    )
    assert codes(batch) == ["v1", "v2", "version-conflict", "version-conflict"]


def claim(email: str) -> tuple[str, str]:
    return "customer-email", hashed_claim("customer-email", email, b"")


def test_claims_are_looked_up_first_and_then_bind_within_the_batch() -> None:
    commands = [register("k1", "a", "x@example.org"), register("k2", "b", "X@example.org")]
    first = decide(commands, LoadedStreams(keys=EVERY_KEY), NOW)
    assert first.missing == {claim("x@example.org")}
    free = decide(commands, LoadedStreams(keys=EVERY_KEY, claims=dict.fromkeys(first.missing)), NOW)
    assert not free.missing
    assert codes(free) == ["v1", "email-already-taken"]
    taken = decide(commands, LoadedStreams(keys=EVERY_KEY, claims=dict.fromkeys(first.missing, "customers/z")), NOW)
    assert codes(taken) == ["email-already-taken"] * 2
    assert not taken.events


def test_a_released_address_is_free_for_the_next_command() -> None:
    keys = [claim("x@example.org"), claim("y@example.org")]
    batch = decide(
        [
            register("k1", "a", "x@example.org"),
            command("customers.change-email", "k2", {"email": "y@example.org"}, subject="a"),
            register("k3", "b", "x@example.org"),
        ],
        LoadedStreams(keys=EVERY_KEY, claims=dict.fromkeys(keys)),
        NOW,
    )
    assert codes(batch) == ["v1", "v2", "v1"]
    assert batch.claims == {keys[0]: "customers/b", keys[1]: "customers/a"}


def test_a_fault_in_one_decision_is_its_own_and_has_no_outcome() -> None:
    known = LoadedStreams(
        keys=EVERY_KEY,
        streams={"customers/bad": StoredStream(1, "null", 0)},
        replayed={"customers/bad": LookupError("no events")},
    )
    batch = decide([rename("k1", "bad", "Ann"), register("k2", "c")], known, NOW)
    assert batch.is_complete
    assert isinstance(batch.results[0], Failed)
    assert isinstance(batch.results[1], Outcome)
    assert list(batch.decided) == [("test", "k2")]


@pytest.mark.parametrize(
    "kept", [StoredStream(3, '{"name":"Ann"}', 2), StoredStream(3, "{not json", 2), StoredStream(3, SOUND, 1)]
)
def test_state_that_does_not_fit_is_asked_for_and_then_decided_on(kept: StoredStream) -> None:
    known = LoadedStreams(keys=EVERY_KEY, streams={"customers/c": kept})
    assert set(decide([rename("k1", "c", "Ann")], known, NOW).outdated) == {"customers/c"}
    known.replayed["customers/c"] = Customer(customer_id="c", name="Ann", email=None)
    batch = decide([rename("k1", "c", "Ann")], known, NOW)
    assert batch.is_complete
    assert codes(batch) == ["v3"]
    assert [name for name, _ in batch.restored_streams()] == ["customers/c"]
    assert list(decide([rename("k1", "c", "Bea")], known, NOW).restored_streams()) == []


def test_an_event_on_the_wire_reads_back_as_what_was_decided() -> None:
    batch = decide([register("k1", "c", None)], LoadedStreams(keys=EVERY_KEY), NOW)
    event = ReceivedEvent.model_validate_json(batch.events[0].envelope)
    assert (event.id, event.subject, event.streamversion, event.causationid) == (
        "customers/c@1",
        "customers/c",
        1,
        "k1",
    )
    data = event_data(event.type, event.schemaversion, event.data)
    assert data != CustomerRegistered(customer_id="c", name="Ann", registered_at=NOW)
    assert opened(data, "customers/c", EVERY_KEY) == CustomerRegistered(customer_id="c", name="Ann", registered_at=NOW)
