"""The command ``tidemark drill rebuild``: passed when every check did."""

from typing import Literal

from deploy.demo.shop.source import retail_folder
from deploy.drills.carrying_out import carry_out
from deploy.drills.rebuild.client import ServiceError
from deploy.drills.rebuild.drill import RebuildDrillError
from deploy.drills.rebuild.drill import rebuild as run_drill
from deploy.drills.rebuild.report import show
from deploy.errors import ServerUnavailableError
from shared.messaging.control_client import NoReplyError


def rebuild(orders: int | None, per_second: float, output: Literal["table", "json"]) -> int:
    return carry_out(
        lambda servers, display: run_drill(servers, orders, per_second, display),
        show,
        as_json=output == "json",
        failures=(RebuildDrillError, NoReplyError, ServerUnavailableError, ServiceError),
        first=retail_folder,
    )
