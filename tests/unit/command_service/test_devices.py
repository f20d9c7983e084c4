"""Devices: given these events, when this command, then these events; and decimals that keep every digit."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_service.domain.aggregate import Refused
from command_service.domain.devices import AGGREGATE, Device
from command_service.handling.parsing import Command, Invalid, Task, read
from shared.contracts.devices import (
    DeviceConfigured,
    DeviceRetired,
    RecordTelemetry,
    RegisterDevice,
    RetireDevice,
    TelemetryRecorded,
)
from shared.contracts.registry import COMMANDS
from shared.contracts.values import MAX_DECIMAL_DIGITS, MAX_DECIMAL_PLACES, EventData

NOW = datetime(2026, 3, 1, tzinfo=UTC)
METRICS: list[dict[str, Any]] = [
    {"name": "temp", "unit": "°C", "low": "-10", "high": 30},
    {"name": "wind", "unit": "m/s"},
]
REGISTER = {"device_id": "d-1", "model": "m-1", "site": "north", "metrics": METRICS}


def given_events(*facts: EventData) -> Device:
    state: Any = None
    for fact in facts:
        state = AGGREGATE.evolve(state, fact)
    found: Device = state
    return found


def decide(state: Device | None, command: str, data: dict[str, Any]) -> Sequence[Any]:
    return AGGREGATE.decide(state, COMMANDS[f"devices.{command}"].model_validate(data), NOW)


def registered() -> Device:
    return given_events(*decide(None, "register-device", REGISTER))


def reading(metric: str = "temp", minute: int = 0, value: Any = "1.5") -> dict[str, Any]:
    return {"metric": metric, "at": f"2026-03-01T09:{minute:02}:00+01:00", "value": value}


def sent(value: str, *, batch: bool = False, headers: dict[str, Any] | None = None) -> Command:
    """A command that records one reading with this value, as it is written in the message."""
    data = f'{{"readings": [{{"metric": "temp", "at": "2026-03-01T09:00:00Z", "value": {value}}}]}}'
    if headers is not None:
        [command] = read(data.encode(), headers=headers).parts
    else:
        head = {"specversion": "1.0", "id": "i", "source": "s", "type": "devices.record-telemetry", "subject": "d-1"}
        whole = f'{json.dumps(head)[:-1]}, "data": {data}}}'
        other = (
            '{"id": "o", "source": "s", "type": "customers.rename-customer", "subject": "c", "data": {"name": 1.50}}'
        )
        command = read((f"[{other}, {whole}]" if batch else whole).encode()).parts[-1]
    assert isinstance(command, Command)
    return command


def value_of(command: Command) -> str:
    assert isinstance(command.task, Task), command.task
    assert isinstance(command.task.data, RecordTelemetry)
    return command.task.data.readings[0].value


def test_readings_are_recorded_by_metric_in_the_order_of_the_command() -> None:
    device = registered()
    readings = [reading("wind", 2, "3"), reading("temp", 1), reading("wind", 0, 4)]
    [event] = decide(device, "record-telemetry", {"readings": readings})
    assert isinstance(event, TelemetryRecorded)
    wind, temp = event.series
    assert (wind.metric, wind.value, wind.low, wind.high) == ("wind", ("3", "4"), None, None)
    assert [at.minute for at in wind.at] == [2, 0]
    assert (temp.metric, temp.value, temp.low, temp.high) == ("temp", ("1.5",), "-10", "30")
    assert temp.at == (datetime(2026, 3, 1, 8, 1, tzinfo=UTC),)
    assert (event.total, AGGREGATE.evolve(device, event).readings) == (3, 3)  # type: ignore[attr-defined]


def test_state_does_not_grow_with_readings() -> None:
    device = registered()
    before = len(msgspec.json.encode(device))
    for _ in range(50):
        readings = [reading(minute=n % 60) for n in range(1000)]
        [event] = decide(device, "record-telemetry", {"readings": readings})
        device = given_events_after(device, event)
    assert device.readings == 50_000
    assert len(msgspec.json.encode(device)) <= before + len("50000")


def given_events_after(device: Device, *facts: EventData) -> Device:
    state: Any = device
    for fact in facts:
        state = AGGREGATE.evolve(state, fact)
    found: Device = state
    return found


def test_an_unknown_metric_refuses_the_whole_command_and_names_the_reading() -> None:
    with pytest.raises(Refused, match=r"readings\[1\]\.metric: there is no rain; there are temp, wind") as refused:
        decide(registered(), "record-telemetry", {"readings": [reading(), reading("rain")]})
    assert refused.value.code == "unknown-metric"


def test_a_reading_of_a_wrong_clock_refuses_the_whole_command_and_names_the_reading() -> None:
    def at(time: str) -> dict[str, Any]:
        return reading() | {"at": time}

    [event] = decide(registered(), "record-telemetry", {"readings": [at("2026-03-02T00:00:00Z")]})
    assert isinstance(event, TelemetryRecorded)
    late = "2026-03-02T00:00:00.000001Z", "2199-12-31T00:00:00+01:00"
    for time, shown in zip(late, (late[0], "2199-12-30T23:00:00Z"), strict=True):
        with pytest.raises(Refused, match=r"readings\[1\]\.at: .* is more than a day ahead") as refused:
            decide(registered(), "record-telemetry", {"readings": [reading(), at(time)]})
        assert refused.value.code == "reading-in-the-future"
        assert shown in str(refused.value)


def test_a_device_is_registered_once_and_must_be_there() -> None:
    with pytest.raises(Refused) as refused:
        decide(registered(), "register-device", REGISTER)
    assert refused.value.code == "device-already-registered"
    with pytest.raises(Refused) as refused:
        decide(None, "record-telemetry", {"readings": [reading()]})
    assert refused.value.code == "device-not-found"


def test_a_retired_device_takes_nothing_any_more() -> None:
    device = registered()
    [event] = decide(device, "retire-device", {})
    assert isinstance(event, DeviceRetired)
    gone = given_events_after(device, event)
    for command, data in (
        ("record-telemetry", {"readings": [reading()]}),
        ("configure-device", {"model": "m-2"}),
        ("retire-device", {}),
    ):
        with pytest.raises(Refused) as refused:
            decide(gone, command, data)
        assert refused.value.code == "device-is-retired"


def test_a_configuration_says_the_whole_device_and_changes_what_is_given() -> None:
    device = registered()
    [event] = decide(device, "configure-device", {"site": "south"})
    assert isinstance(event, DeviceConfigured)
    assert (event.model, event.site, len(event.metrics)) == ("m-1", "south", 2)
    [event] = decide(device, "configure-device", {"metrics": [METRICS[1]]})
    assert [metric.name for metric in event.metrics] == ["wind"]
    assert given_events_after(device, event).metrics == device.metrics[1:]
    assert decide(device, "configure-device", {"model": "m-1", "metrics": METRICS}) == []


@pytest.mark.parametrize(
    ("command", "data", "words"),
    [
        ("record-telemetry", {"readings": []}, "at least 1 entry"),
        ("record-telemetry", {"readings": [reading()] * 1001}, "at most 1000 entries are possible; 1001 came"),
        ("configure-device", {}, "at least one of"),
        ("register-device", REGISTER | {"metrics": [METRICS[0], METRICS[0]]}, "the same name"),
        ("register-device", REGISTER | {"metrics": [{**METRICS[0], "low": "30.1"}]}, "low must not be above high"),
    ],
)
def test_what_a_contract_does_not_allow_is_refused(command: str, data: dict[str, Any], words: str) -> None:
    envelope = {"id": "i", "source": "s", "type": f"devices.{command}", "subject": "d-1", "data": data}
    [part] = read(json.dumps(envelope).encode()).parts
    assert isinstance(part, Command)
    assert isinstance(part.task, Invalid)
    assert words in part.task.message


@pytest.mark.parametrize("batch", [False, True], ids=["alone", "in a batch"])
@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("0.100000000000000055", "0.100000000000000055"),
        ("12345678901234567890.123456789012345678", "12345678901234567890.123456789012345678"),
        ('"12345678901234567890.123456789012345678"', "12345678901234567890.123456789012345678"),
        ("21.50", "21.5"),
        ("-0.0", "0"),
        ("1E-7", "0.0000001"),
        ('"2.5e3"', "2500"),
        ("9007199254740993", "9007199254740993"),
    ],
)
def test_a_value_keeps_every_digit_as_a_number_or_as_text(written: str, kept: str, *, batch: bool) -> None:
    assert value_of(sent(written, batch=batch)) == kept


def test_a_value_in_binary_mode_keeps_every_digit() -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "i", "ce-source": "s", "ce-subject": "d-1"}
    command = sent("0.100000000000000055", headers=headers | {"ce-type": "devices.record-telemetry"})
    assert value_of(command) == "0.100000000000000055"


@given(st.decimals(-(10**19), 10**19, places=18) | st.integers(-(10**20) + 1, 10**20 - 1))
def test_every_decimal_within_the_limits_is_kept(value: Decimal | int) -> None:
    for written in (f"{value}", f'"{value}"', f"{value:E}" if isinstance(value, Decimal) and value else f"{value}"):
        assert Decimal(value_of(sent(written))) == value


@pytest.mark.parametrize(
    "written",
    [
        *("true", "null", '""', '"x"', '"NaN"', '"1_0"', '" 1"', '"١"', '"0x1"', "[]", "{}", "1e999999999999999999999"),
        f"1{'0' * MAX_DECIMAL_DIGITS}",
        f"0.{'0' * MAX_DECIMAL_PLACES}1",
        *("1e20", "1e-19", "1" * 4000),
    ],
)
def test_any_other_value_is_refused_with_its_place(written: str) -> None:
    command = sent(written)
    assert isinstance(command.task, Invalid)
    [error] = command.task.errors
    assert error["field"] == "readings[0].value"
    assert error["message"].startswith("a decimal is a number or its text")


def test_commands_that_differ_in_one_digit_are_not_the_same_command() -> None:
    assert sent("0.10000000000000001").digest != sent("0.1").digest
    assert sent("0.1").digest == sent('"0.1"').digest


def test_numbers_of_other_commands_are_read_as_before() -> None:
    body = b'{"id": "i", "source": "s", "type": "customers.rename-customer", "subject": "c-1", "data": {"name": 1.50}}'
    [part] = read(body).parts
    assert isinstance(part, Command)
    assert part.envelope.data == {"name": 1.5}


def test_each_reading_has_its_own_time_zone_and_microseconds() -> None:
    data = {"readings": [{"metric": "temp", "at": "2026-03-01T09:30:00.123456+02:00", "value": 1}]}
    [event] = decide(registered(), "record-telemetry", data)
    assert event.series[0].at == (datetime(2026, 3, 1, 7, 30, tzinfo=UTC) + timedelta(microseconds=123456),)


def test_commands_name_their_device() -> None:
    assert AGGREGATE.id_in(RegisterDevice.model_validate(REGISTER)) == "d-1"
    assert AGGREGATE.id_in(RetireDevice()) is None
