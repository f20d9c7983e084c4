"""The figures that telemetry must show, computed with Decimal from the lines of the file.

This module shares no code with the creation of the commands (``source``), so that an error there shows as a difference.
"""

from collections import defaultdict
from collections.abc import Mapping
from decimal import Context, Decimal
from functools import reduce
from pathlib import Path
from typing import Any, Final

EXACT: Final = Context(prec=60)
HOURLY: Final = ("JFK", "temp")
"""The station and metric of which every hour is compared."""
HEAD: Final = 5
"""The columns of a line before its metrics: the station, and its local time."""

Figures = dict[str, Any]
"""What it is, in words → its value. Both sides have the same words in the same order."""
Limits = tuple[Decimal | None, Decimal | None]
"""Low, high."""


def expected_figures(file: Path, limits: Mapping[str, Limits], before: str, repeated: int) -> Figures:
    """Of the lines before this time. ``limits``: each metric's; ``repeated``: how many readings are sent twice."""
    series: dict[tuple[str, str], list[tuple[str, Decimal]]] = defaultdict(list)
    header, *lines = file.read_text().splitlines()
    metrics = header.split(",")[HEAD:-1]
    for line in lines:
        station, *_ = fields = line.split(",")
        time = fields[-1]
        if time < before:
            for metric, text in zip(metrics, fields[HEAD:-1], strict=True):
                if text != "NA":
                    series[metric, station].append((time, Decimal(text)))
    found: Figures = {}
    for (metric, station), pairs in sorted(series.items()):
        values = [value for _, value in pairs]
        found[f"{metric} {station} readings"] = len(values)
        found[f"{metric} {station} sum"] = reduce(EXACT.add, values, Decimal(0))
        found[f"{metric} {station} range"] = [min(values), max(values)]
        found[f"{metric} {station} latest"] = max(pairs)[1]
    found[" ".join((*HOURLY, "by hour"))] = sorted(series[HOURLY[1], HOURLY[0]])
    found["readings kept"] = sum(map(len, series.values()))
    found["duplicates"] = repeated
    found["conflicting readings"] = 0
    states = [_state(pairs, *limits[metric]) for (metric, _), pairs in series.items()]
    found["alerts raised"], found["alerts cleared"] = states.count("raised"), states.count("cleared")
    return found


def _state(pairs: list[tuple[str, Decimal]], low: Decimal | None, high: Decimal | None) -> str:
    """By the latest reading, if any reading was outside the limits."""
    outside = {time: (low is not None and value < low) or (high is not None and value > high) for time, value in pairs}
    if not any(outside.values()):
        return "none"
    return "raised" if outside[max(outside)] else "cleared"
