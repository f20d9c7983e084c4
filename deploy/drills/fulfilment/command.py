"""The command ``tidemark drill fulfilment``: passed when every check did."""

from deploy.cli.terminal import Output
from deploy.drills.carrying_out import carry_out
from deploy.drills.fulfilment.drill import Conditions
from deploy.drills.fulfilment.drill import fulfilment as run_drill
from deploy.drills.fulfilment.report import show
from deploy.errors import ServerUnavailableError


def fulfilment(conditions: Conditions, output: Output) -> int:
    return carry_out(
        lambda servers, display: run_drill(servers, conditions, display),
        show,
        as_json=output is Output.JSON,
        failures=(ServerUnavailableError,),
    )
