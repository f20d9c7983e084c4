"""The orders of the drill: which of them are out of stock, and what their customers do later, from a seed alone. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from deploy.sending.batches import CommandMessage, command_message

SOURCE: Final = "tidemark/drill"
PRODUCTS: Final = 50
STOCK: Final = 10**6
GONE: Final = "product-gone"
"""A product without any stock."""


@dataclass(frozen=True, slots=True)
class Plan:
    orders: int
    out_of_stock: float
    """The share of orders with a product that is not there."""
    changed_minds: float
    """The share of confirmed orders that are cancelled by their customers instead of being shipped."""
    seed: int

    def products(self) -> Iterator[CommandMessage]:
        for product_id in (GONE, *(f"product-{number}" for number in range(PRODUCTS))):
            fields = {"product_id": product_id, "name": product_id, "category": "any", "price": 100, "currency": "EUR"}
            yield command_message("catalog.create-product", f"create:{product_id}", fields, source=SOURCE)

    def deliveries(self) -> Iterator[CommandMessage]:
        for number in range(PRODUCTS):
            id_ = f"product-{number}"
            data = {"quantity": STOCK}
            yield command_message("catalog.receive-stock", f"receive:{id_}", data, source=SOURCE, subject=id_)

    def placements(self) -> Iterator[CommandMessage]:
        for number in range(self.orders):
            drawn = Random(f"{self.seed}/{number}")  # noqa: S311 - a plan, no secret
            chosen = [f"product-{each}" for each in drawn.sample(range(PRODUCTS), drawn.randint(1, 3))]
            if drawn.random() < self.out_of_stock:
                chosen.append(GONE)
            lines = [{"product_id": each, "quantity": drawn.randint(1, 3), "amount": 100} for each in chosen]
            fields = {"order_id": f"order-{number}", "customer_id": f"customer-{number % 97}", "currency": "EUR"}
            fields_of_order = {**fields, "lines": lines, "fulfilment": "managed"}
            yield command_message("orders.place-order", f"place:{number}", fields_of_order, source=SOURCE)

    def after_confirmation(self, order_id: str) -> CommandMessage:
        """Ship it, or, if its customer has thought again, cancel it."""
        if Random(f"{self.seed}/{order_id}").random() < self.changed_minds:  # noqa: S311
            data = {"reason": "changed my mind"}
            return command_message("orders.cancel-order", f"cancel:{order_id}", data, source=SOURCE, subject=order_id)
        return command_message("orders.ship-order", f"ship:{order_id}", {}, source=SOURCE, subject=order_id)
