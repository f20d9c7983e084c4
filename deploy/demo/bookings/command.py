"""The command ``tidemark demo bookings``: a doctor's practice around the days on which clocks change."""

from typing import Final, Literal

from deploy.demo.bookings.flow import flow
from deploy.demo.bookings.report import show
from deploy.demo.command import run_demo

DEFAULT_ROUNDS: Final = 30


def demo(rounds: int = DEFAULT_ROUNDS, output: Literal["table", "json"] = "table") -> int:
    """Run the demo with that many rounds of about 350 commands; returns the exit code."""
    return run_demo(
        lambda servers, display: lambda url, pids: flow(servers, url, rounds, display, pids), show, output=output
    )
