"""All aggregates, by the commands that they handle."""

from collections.abc import Mapping
from types import ModuleType
from typing import Final

from command_service.domain import kinds
from command_service.domain.aggregate import Aggregate
from shared.contracts.values import CommandData

AGGREGATES: Final[tuple[Aggregate, ...]] = tuple(
    module.AGGREGATE for module in vars(kinds).values() if isinstance(module, ModuleType)
)
BY_COMMAND: Final[Mapping[type[CommandData], Aggregate]] = {
    command: aggregate for aggregate in AGGREGATES for command in aggregate.commands
}
