"""The command ``tidemark demo``: a year of a grocery chain."""

from typing import Final, Literal

from deploy.demo.command import run_demo
from deploy.demo.shop.flow import flow
from deploy.demo.shop.report import show
from deploy.demo.shop.source import retail_folder

DEFAULT_ORDERS: Final = 5000


def demo(orders: int | None = None, all_orders: bool = False, output: Literal["table", "json"] = "table") -> int:
    """Run the demo with the first ``orders`` baskets of the year (5,000 by default), or with all; returns the exit code."""
    count = None if all_orders else orders or DEFAULT_ORDERS
    return run_demo(
        lambda servers, display: lambda url, pids: flow(servers, url, count, display, pids),
        show,
        check_source=retail_folder,
        output=output,
    )
