"""The command ``tidemark demo devices``: a year of hourly weather at three airports, to the last digit."""

from typing import Literal

from deploy.demo.command import run_demo
from deploy.demo.devices.flow import flow
from deploy.demo.devices.report import show
from deploy.demo.devices.source import weather_file


def demo(whole_year: bool = False, output: Literal["table", "json"] = "table") -> int:
    """Run the demo with the first quarter of the year, or all of it; returns the exit code."""
    return run_demo(
        lambda servers, display: lambda url, pids: flow(servers, url, display, pids, whole_year=whole_year),
        show,
        check_source=weather_file,
        output=output,
    )
