"""The figures that telemetry must show, computed with Decimal from the data frame's columns.

This module shares no code with the creation of the commands (``source``), so that an error there shows as a difference.
"""

from decimal import Context, Decimal
from functools import reduce
from typing import Any, Final

EXACT: Final = Context(prec=60)
HOURLY: Final = ("JFK", "temp")
"""The station and metric of which every hour is compared."""

Figures = dict[str, Any]
"""What it is, in words → its value. Both sides have the same words in the same order."""


def expected_figures(frame: Any, metrics: tuple[str, ...], repeated: int) -> Figures:
    """``repeated``: how many readings are sent twice."""
    stations = sorted(set(frame["origin"]))
    found: Figures = {}
    kept = 0
    for metric in metrics:
        for station in stations:
            column = frame[(frame["origin"] == station) & frame[metric].notna()].sort_values("time_hour")
            values = [Decimal(str(value)) for value in column[metric].tolist()]
            kept += len(values)
            found[f"{metric} {station} readings"] = len(values)
            found[f"{metric} {station} sum"] = reduce(EXACT.add, values, Decimal(0))
            found[f"{metric} {station} range"] = [min(values), max(values)]
            found[f"{metric} {station} latest"] = values[-1]
    hourly = frame[(frame["origin"] == HOURLY[0]) & frame[HOURLY[1]].notna()].sort_values("time_hour")
    found[" ".join((*HOURLY, "by hour"))] = [
        (at, Decimal(str(value))) for at, value in zip(hourly["time_hour"], hourly[HOURLY[1]].tolist(), strict=True)
    ]
    found["readings kept"] = kept
    found["duplicates"] = repeated
    found["conflicting readings"] = 0
    return found


def expected_alerts(frame: Any, limits: dict[str, tuple[Decimal | None, Decimal | None]]) -> Figures:
    """How many alerts are raised and cleared: by each metric's latest reading, if any reading was outside the limits."""
    raised = cleared = 0
    for metric, (low, high) in limits.items():
        for station in sorted(set(frame["origin"])):
            column = frame[(frame["origin"] == station) & frame[metric].notna()].sort_values("time_hour")
            values = [Decimal(str(value)) for value in column[metric].tolist()]
            outside = [(low is not None and value < low) or (high is not None and value > high) for value in values]
            raised += outside[-1]
            cleared += any(outside) and not outside[-1]
    return {"alerts raised": raised, "alerts cleared": cleared}
