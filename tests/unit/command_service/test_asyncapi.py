"""The published contracts: sound by the specifications, and the same as what the code takes and writes."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from faststream.specification.asyncapi.v3_0_0.schema import ApplicationSchema
from jsonschema import Draft202012Validator, FormatChecker, validators
from jsonschema.exceptions import ValidationError as SchemaError
from pydantic import StringConstraints, TypeAdapter, ValidationError

from command_service.handling.decision import LoadedStreams, Outcome, decide
from command_service.handling.parsing import Command, read
from command_service.http.asyncapi import document
from command_service.http.contract_schemas import EVENT_ENVELOPE
from shared.contracts.registry import COMMANDS, EVENTS
from shared.messages.envelope import EventEnvelope
from shared.messaging import topology
from tests.personal_keys import EVERY_KEY

NOW = datetime(2026, 3, 1, tzinfo=UTC)
WHOLE = document()
NO_FORMATS = FormatChecker(formats=())
"""Python's regular expressions do not know ``\\p{L}``, as JSON Schema's do."""

LINE = {"product_id": "p-1", "name": "Tea", "quantity": 2, "amount": 998}
ORDER = {
    "order_id": "o-1",
    "customer_id": "c-1",
    "currency": "EUR",
    "lines": [LINE],
    "placed_at": "2026-03-01T09:30:00Z",
}
PRODUCT = {
    "product_id": "p-1",
    "name": "Tea",
    "category": "drinks",
    "price": 499,
    "currency": "EUR",
    "variants": [{"sku": "s"}],
}
PAYMENT = {"payment_id": "y-1", "order_id": "o-3", "amount": 998, "currency": "EUR"}
DEVICE = {
    "device_id": "device-1",
    "model": "m",
    "metrics": [{"name": "temp", "unit": "°C", "high": 30.5}, {"name": "wind", "unit": "m/s"}],
}
READINGS = [
    {"metric": "temp", "at": "2026-03-01T09:30:00Z", "value": 21.5},
    {"metric": "temp", "at": "2026-03-01T09:31:00Z", "value": "-2.15e1"},
]
BOOKING = {
    "booking_id": "b-1",
    "patient_id": "patient-1",
    "doctor_id": "d-1",
    "starts_at": "2026-03-29T00:30:00Z",
    "minutes": 15,
}
SOUND: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "customers:c-9": [("privacy.erase-subject", {"subject": "customers/c-9", "reason": "asked for it"})],
    "o-1": [
        ("orders.place-order", ORDER),
        ("orders.pay-order", {"amount": 998, "method": "card"}),
        ("orders.ship-order", {"carrier": "post"}),
        ("orders.deliver-order", {"at": "2026-03-02T09:30:00Z"}),
    ],
    "o-2": [("orders.place-order", ORDER | {"order_id": "o-2"}), ("orders.cancel-order", {"reason": "too late"})],
    "p-1": [
        ("catalog.create-product", PRODUCT),
        ("catalog.change-price", {"price": 510}),
        ("catalog.update-product", {"brand": "Ours"}),
        ("catalog.receive-stock", {"quantity": 7}),
        ("catalog.reserve-stock", {"reservation_id": "o-1", "quantity": 3}),
        ("catalog.receive-stock", {"quantity": 1}),
        ("catalog.consume-stock", {"reservation_id": "o-1", "quantity": 1}),
        ("catalog.release-stock", {"reservation_id": "o-1"}),
        ("catalog.add-review", {"review_id": "r-1", "rating": 5}),
    ],
    "o-3": [
        ("orders.place-order", ORDER | {"order_id": "o-3", "fulfilment": "managed"}),
        ("orders.confirm-order", {}),
        ("orders.ship-order", {}),
    ],
    "y-1": [
        ("payments.request-payment", PAYMENT),
        ("payments.capture-payment", {}),
        ("payments.refund-payment", {"amount": 998}),
    ],
    "y-2": [
        ("payments.request-payment", PAYMENT | {"payment_id": "y-2"}),
        ("payments.fail-payment", {"reason": "no money"}),
    ],
    "c-1": [
        ("customers.register-customer", {"customer_id": "c-1", "name": "Ann", "email": "ann@example.org"}),
        ("customers.rename-customer", {"name": "Anne"}),
        ("customers.change-email", {"email": "anne@example.org"}),
        ("customers.change-region", {"region": "North"}),
    ],
    "u-1": [
        ("accounts.create-user", {"user_id": "u-1", "name": "Ann", "email": "ann@example.org", "role": "clerk"}),
        ("accounts.rename-user", {"name": "Anne"}),
        ("accounts.change-email", {"email": "anne@example.org"}),
        ("accounts.change-role", {"role": "admin"}),
        ("accounts.deactivate-user", {"reason": "left"}),
        ("accounts.reactivate-user", {}),
    ],
    "d-1": [
        (
            "bookings.register-doctor",
            {"doctor_id": "d-1", "name": "Dr Ann", "speciality": "ears", "time_zone": "Europe/Berlin"},
        ),
        ("bookings.rename-doctor", {"name": "Dr Anne"}),
    ],
    "patient-1": [
        ("bookings.register-patient", {"patient_id": "patient-1", "name": "Paul", "email": "paul@example.org"}),
        ("bookings.rename-patient", {"name": "Paula"}),
    ],
    "b-1": [
        ("bookings.request-booking", BOOKING),
        ("bookings.confirm-booking", {}),
        ("bookings.move-booking", {"starts_at": "2026-03-29T00:35:00Z", "minutes": 10}),
        ("bookings.request-reminder", {"starts_at": "2026-03-29T00:35:00Z"}),
        ("bookings.complete-booking", {}),
    ],
    "b-2": [
        ("bookings.request-booking", BOOKING | {"booking_id": "b-2", "starts_at": "2026-03-29T09:00:00Z"}),
        ("bookings.confirm-booking", {}),
        ("bookings.mark-no-show", {}),
    ],
    "b-3": [
        ("bookings.request-booking", BOOKING | {"booking_id": "b-3", "starts_at": "2026-03-29T10:00:00Z"}),
        ("bookings.cancel-booking", {"reason": "ill"}),
    ],
    "device-1": [
        ("devices.register-device", DEVICE),
        ("devices.configure-device", {"site": "roof", "metrics": [{"name": "temp", "unit": "°C", "low": "-1.50"}]}),
        ("devices.record-telemetry", {"readings": READINGS}),
        ("devices.retire-device", {"reason": "worn out"}),
    ],
}
"""The life of aggregates of each kind, by their ids: every command there is, and every event."""


FREE: list[tuple[str, str]] = [
    ("sku", "s"),
    ("review:p-1", "r-1"),
    ("reservation:p-1", "o-1"),
    ("customer-email", "ann@example.org"),
    ("customer-email", "anne@example.org"),
    ("user-email", "ann@example.org"),
    ("user-email", "anne@example.org"),
]
"""Claims that nobody has."""


def _matches(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[SchemaError]:
    """By the same expressions as the contracts."""
    if isinstance(instance, str):
        try:
            TypeAdapter(Annotated[str, StringConstraints(pattern=pattern)]).validate_python(instance)
        except ValidationError:
            yield SchemaError(f"{instance!r} does not match {pattern}")


def validator(payload: dict[str, Any]) -> Any:
    with_pattern: Any = validators.extend(  # type: ignore[no-untyped-call]
        Draft202012Validator, {"pattern": _matches}
    )
    return with_pattern({**payload, "components": WHOLE["components"]})


def lives() -> Iterator[tuple[dict[str, Any], Outcome, list[dict[str, Any]]]]:
    """Each sound command's envelope, its outcome, and its events, as they go over the wire."""
    for subject, steps in SOUND.items():
        commands = []
        for number, (command_type, data) in enumerate(steps):
            envelope = {
                "specversion": "1.0",
                "id": f"{subject}-{number}",
                "source": "tests",
                "type": command_type,
                "subject": subject,
                "actor": "chief@example.org",
                "data": data,
            }
            [command] = read(json.dumps(envelope).encode()).parts
            assert isinstance(command, Command)
            commands.append((envelope, command))
        known = LoadedStreams(keys=EVERY_KEY, epoch="e")
        wanted = decide([command for _, command in commands], known, NOW).missing
        known.claims |= dict.fromkeys(wanted)  # nobody has them
        batch = decide([command for _, command in commands], known, NOW)
        assert not batch.missing
        events = [json.loads(event.envelope) for event in batch.events]
        for (envelope, _), result in zip(commands, batch.results, strict=True):
            assert isinstance(result, Outcome)
            yield envelope, result, [event for event in events if event["causationid"] == envelope["id"]]


def test_the_document_is_asyncapi_3_and_everything_it_refers_to_is_there() -> None:
    ApplicationSchema.model_validate(WHOLE)
    references = set()

    def look(value: Any) -> None:
        if isinstance(value, dict):
            references.update([value["$ref"]] if "$ref" in value else [])
            for each in value.values():
                look(each)
        elif isinstance(value, list):
            for each in value:
                look(each)

    look(WHOLE)
    for reference in references:
        place: Any = WHOLE
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
    for message in WHOLE["components"]["messages"].values():
        Draft202012Validator.check_schema(message["payload"], NO_FORMATS)
    for schema in WHOLE["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema, NO_FORMATS)


def test_exchanges_and_routing_keys_are_those_of_the_topology() -> None:
    channels = WHOLE["channels"]
    exchanges = {
        name: one["bindings"]["amqp"]["exchange"]["name"] for name, one in channels.items() if "bindings" in one
    }
    assert exchanges == {"commands": topology.COMMANDS, "outcomes": topology.OUTCOMES, "events": topology.EVENTS}
    assert channels["events"]["address"].replace("{lane}", "3") == topology.lane_key(3)
    assert channels["outcomes"]["address"].replace("{type}", "a.b") == topology.rejected_key("a.b")
    assert list(channels["commands"]["messages"]) == [*COMMANDS, "batch"]


def test_every_command_that_is_taken_and_every_event_and_outcome_that_is_written_fits_its_schema() -> None:
    seen: set[str] = set()
    for envelope, outcome, events in lives():
        assert outcome.accepted, outcome.body
        for message in (envelope, json.loads(outcome.body), *events):
            validator(WHOLE["components"]["messages"][message["type"]]["payload"]).validate(message)
            seen.add(message["type"])
    assert seen == {*COMMANDS, *(name for name, _ in EVENTS.values()), "command.accepted"}


@pytest.mark.parametrize(
    ("command_type", "data"),
    [
        ("orders.place-order", ORDER | {"lines": []}),
        ("orders.place-order", ORDER | {"lines": [LINE | {"quantity": 0}]}),
        ("orders.place-order", ORDER | {"currency": "euro"}),
        ("orders.place-order", ORDER | {"order_id": "a b"}),
        ("orders.pay-order", {"amount": "998"}),
        ("orders.pay-order", {"amount": 998, "amout": 1}),
        ("catalog.add-review", {"review_id": "r", "rating": 6}),
        ("catalog.reserve-stock", {"reservation_id": "r", "quantity": 0}),
        ("orders.place-order", ORDER | {"fulfilment": "by-hand"}),
        ("payments.refund-payment", {"amount": 0}),
        ("customers.register-customer", {"customer_id": "c", "name": ""}),
        ("bookings.register-doctor", {"doctor_id": "d", "name": "Dr Ann", "time_zone": "localtime"}),
        ("bookings.request-booking", BOOKING | {"minutes": 7}),
        ("bookings.request-booking", BOOKING | {"minutes": 485}),
    ],
)
def test_what_the_schema_refuses_the_service_refuses(command_type: str, data: dict[str, Any]) -> None:
    envelope = {"specversion": "1.0", "id": "i", "source": "s", "type": command_type, "subject": "x", "data": data}
    assert not validator(WHOLE["components"]["messages"][command_type]["payload"]).is_valid(envelope)
    [command] = read(json.dumps(envelope).encode()).parts
    assert isinstance(command, Command)
    [outcome] = decide([command], LoadedStreams(keys=EVERY_KEY), NOW).results
    assert isinstance(outcome, Outcome)
    assert not outcome.accepted
    validator(WHOLE["components"]["messages"]["command.rejected"]["payload"]).validate(json.loads(outcome.body))


def test_the_schema_of_event_envelopes_names_every_attribute_that_is_written() -> None:
    assert list(EVENT_ENVELOPE["properties"]) == list(EventEnvelope.__struct_fields__)


def test_a_configuration_says_that_its_metrics_replace_the_others() -> None:
    schema = WHOLE["components"]["schemas"]["ConfigureDevice"]
    assert "replaces the whole list" in schema["description"]
    assert "it replaces the device's metrics" in schema["properties"]["metrics"]["description"]
