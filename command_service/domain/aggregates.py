"""Every aggregate there is, by the commands it takes. A new one is a file beside this and a line here."""

from collections.abc import Mapping
from typing import Final

from command_service.domain.aggregate import Aggregate
from command_service.domain.customers import CUSTOMERS
from command_service.domain.orders import ORDERS
from command_service.domain.products import PRODUCTS
from shared.contracts.values import CommandData

AGGREGATES: Final = (ORDERS, PRODUCTS, CUSTOMERS)
BY_COMMAND: Final[Mapping[type[CommandData], Aggregate]] = {
    command: aggregate for aggregate in AGGREGATES for command in aggregate.commands
}
