"""The devices demo: what is sent is the file's text, and what is expected follows from the file alone."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from deploy.demo.devices.expected_figures import expected_figures
from deploy.demo.devices.report import DevicesReport, Line
from deploy.demo.devices.source import METRICS, SITES, Reading, commands, in_sending_order, readings, weather_file
from shared.contracts.devices import RecordTelemetry, RegisterDevice

FILE = """\
origin,year,month,day,hour,temp,dewp,humid,wind_dir,wind_speed,wind_gust,precip,pressure,visib,time_hour
EWR,2013,1,1,1,39.02,NA,59.37,270,10.357019999999999,NA,0,1012,10,2013-01-01T06:00:00Z
EWR,2013,1,1,2,10.5,NA,61.63,250,8.05546,NA,0,1012.3,10,2013-01-01T07:00:00Z
JFK,2013,1,1,1,39.02,NA,59.37,270,50.1,NA,0,NA,10,2013-01-01T06:00:00Z
JFK,2013,7,1,1,90,NA,59.37,270,1,NA,0,NA,10,2013-07-01T06:00:00Z
"""
LIMITS = {
    name: tuple(Decimal(one[side]) if side in one else None for side in ("low", "high"))
    for name, one in METRICS.items()
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weather.csv"
    path.write_text(FILE)
    return path


def test_readings_are_the_text_of_the_file_without_what_is_missing(file: Path) -> None:
    found = readings(file, whole_year=False)
    assert Reading("EWR", "wind_speed", "2013-01-01T06:00:00Z", "10.357019999999999") in found
    assert len(found) == 7 + 7 + 6
    assert len(readings(file, whole_year=True)) == 26


def test_every_reading_is_sent_and_some_of_them_twice() -> None:
    once = [Reading("EWR", "temp", f"t{n}", f"{n}") for n in range(2120)]
    sent = in_sending_order(once)
    assert set(sent) == set(once)
    assert len(sent) == len(once) + 43
    assert sent == in_sending_order(once)
    assert sent[: len(once)] != once


def test_commands_are_what_the_contracts_allow(file: Path) -> None:
    messages = [json.loads(one.body) for one in commands(in_sending_order(readings(file, whole_year=True)))]
    kinds = [message["type"].partition(".")[2] for message in messages]
    assert kinds == ["register-device"] * len(SITES) + ["record-telemetry"] * 2
    for message in messages[: len(SITES)]:
        assert RegisterDevice.model_validate(message["data"]).device_id == message["subject"]
    recorded = [RecordTelemetry.model_validate(message["data"]) for message in messages[len(SITES) :]]
    assert sum(len(one.readings) for one in recorded) == 27
    assert len({message["id"] for message in messages}) == len(messages)


def test_figures_follow_from_the_file(file: Path) -> None:
    found = expected_figures(file, LIMITS, "2013-04-01", 1)  # type: ignore[arg-type]
    assert found["wind_speed EWR sum"] == Decimal("18.412479999999999")
    assert found["temp EWR range"] == [Decimal("10.5"), Decimal("39.02")]
    assert found["temp EWR latest"] == Decimal("10.5")
    assert found["JFK temp by hour"] == [("2013-01-01T06:00:00Z", Decimal("39.02"))]
    assert (found["readings kept"], found["duplicates"]) == (20, 1)
    # The wind at JFK is above its limit, and the latest temperature at EWR below its own.
    assert (found["alerts raised"], found["alerts cleared"]) == (2, 0)
    year = expected_figures(file, LIMITS, "9999", 1)  # type: ignore[arg-type]
    assert (year["alerts raised"], year["alerts cleared"]) == (1, 1)


def test_the_installed_file_has_the_metrics_of_the_devices() -> None:
    with weather_file().open() as lines:
        assert set(METRICS) < set(lines.readline().strip().split(","))


def test_one_line_that_differs_makes_the_report_differ() -> None:
    lines = [Line("sum", Decimal("1.0"), Decimal("1.00")), Line("count", 1, 1)]
    report = DevicesReport(commands=1, rejected={}, readings=1, seconds=1.0, lines=lines)
    assert report.equal
    assert report.as_json()["figures"][0] == {"name": "sum", "source": "1.0", "telemetry": "1.00", "equal": True}
    lines.append(Line("latest", 1, None))
    assert not report.equal
