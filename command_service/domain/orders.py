"""An order: placed → paid → shipped → delivered; it can be cancelled until it is shipped.

A managed order (``fulfilment``) is confirmed instead of paid: placed → confirmed → shipped → delivered. Its payment is a stream of its own
(``payments``); that it is captured, and that the products are reserved, the process knows that confirms the order
(``projectors/processes/fulfilment``). A sender can cancel a managed order as any other: the process then releases and refunds.

The event of its placing records the customer's region and each product's category at that moment: borrowed facts, unknown where there is
no such customer or product. The order keeps them for the event of its cancellation.

Refusals: order-already-placed, order-not-found, invalid-transition, payment-mismatch, order-in-the-future, order-managed,
order-not-managed.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NoReturn, assert_never

from msgspec import UNSET
from msgspec.structs import asdict, replace

from command_service.domain.aggregate import Aggregate, Borrowed, Facts, Refused, State
from command_service.domain.customers import AGGREGATE as CUSTOMERS
from command_service.domain.customers import REGION_SINCE
from command_service.domain.products import AGGREGATE as PRODUCTS
from shared.contracts.orders import (
    CancelOrder,
    ConfirmOrder,
    DeliverOrder,
    Line,
    OrderCancelled,
    OrderConfirmed,
    OrderDelivered,
    OrderPaid,
    OrderPlaced,
    OrderShipped,
    OrderStatus,
    PayOrder,
    PlaceOrder,
    ShipOrder,
)
from shared.contracts.values import Fact

Command = PlaceOrder | PayOrder | ConfirmOrder | ShipOrder | DeliverOrder | CancelOrder
Event = OrderPlaced | OrderPaid | OrderConfirmed | OrderShipped | OrderDelivered | OrderCancelled


class OrderedLine(State, frozen=True, kw_only=True):
    product_id: str
    name: str | None = None
    quantity: int
    amount: int
    category: Fact = UNSET


class Order(State, frozen=True, kw_only=True):
    """The whole order: the event of a cancellation repeats it."""

    status: OrderStatus
    order_id: str
    customer_id: str
    currency: str
    lines: tuple[OrderedLine, ...]
    item_count: int
    total: int
    placed_at: datetime
    region: Fact = UNSET
    fulfilment: Fact = UNSET


NO_FACTS: Final[Facts] = {}
MOST_AHEAD: Final = timedelta(days=1)
"""As for readings: senders' clocks, and days of their time zones, may be ahead."""


def decide(order: Order | None, command: Command, now: datetime, facts: Facts = NO_FACTS) -> Sequence[Event]:
    if isinstance(command, PlaceOrder):
        if order is not None:
            raise Refused("order-already-placed", f"order {command.order_id} has already been placed")
        if command.placed_at is not None and command.placed_at > now + MOST_AHEAD:
            raise Refused("order-in-the-future", "placed_at is more than a day ahead of the service's clock")
        return [_placed(command, now, facts)]
    if order is None:
        raise Refused("order-not-found", "there is no such order")
    at = command.at or now
    managed = order.fulfilment is not UNSET
    match command, order.status:
        case PayOrder(), _ if managed:
            raise Refused("order-managed", "a managed order is paid by its process, and confirmed")
        case ConfirmOrder(), _ if not managed:
            raise Refused("order-not-managed", "only a managed order can be confirmed")
        case ConfirmOrder(), OrderStatus.PLACED:
            return [
                OrderConfirmed(
                    order_id=order.order_id,
                    customer_id=order.customer_id,
                    fulfilment=order.fulfilment,
                    confirmed_at=at,
                )
            ]
        case PayOrder(), OrderStatus.PLACED:
            if command.amount != order.total:
                raise Refused("payment-mismatch", f"the order's total is {order.total}, the payment {command.amount}")
            return [
                OrderPaid(
                    order_id=order.order_id,
                    customer_id=order.customer_id,
                    amount=command.amount,
                    currency=order.currency,
                    method=command.method,
                    paid_at=at,
                )
            ]
        case ShipOrder(), (OrderStatus.PAID | OrderStatus.CONFIRMED):
            return [
                OrderShipped(
                    order_id=order.order_id,
                    carrier=command.carrier,
                    tracking=command.tracking,
                    shipped_at=at,
                    fulfilment=order.fulfilment,
                )
            ]
        case DeliverOrder(), OrderStatus.SHIPPED:
            return [OrderDelivered(order_id=order.order_id, delivered_at=at)]
        case CancelOrder(), (OrderStatus.PLACED | OrderStatus.PAID | OrderStatus.CONFIRMED):
            return [_cancelled(order, command, at)]
        case _:
            _invalid(command, order.status)


def evolve(order: Order | None, event: Event) -> Order:
    if isinstance(event, OrderPlaced):
        lines = tuple(OrderedLine(**asdict(line)) for line in event.lines)
        return Order(status=OrderStatus.PLACED, **asdict(event) | {"lines": lines})
    if order is None:
        raise ValueError(f"{type(event).__name__} cannot begin an order")
    match event:
        case OrderPaid():
            status = OrderStatus.PAID
        case OrderConfirmed():
            status = OrderStatus.CONFIRMED
        case OrderShipped():
            status = OrderStatus.SHIPPED
        case OrderDelivered():
            status = OrderStatus.DELIVERED
        case OrderCancelled():
            status = OrderStatus.CANCELLED
        case _:
            assert_never(event)
    return replace(order, status=status)


def _placed(command: PlaceOrder, now: datetime, facts: Facts) -> OrderPlaced:
    return OrderPlaced(
        order_id=command.order_id,
        customer_id=command.customer_id,
        currency=command.currency,
        lines=tuple(
            Line(
                product_id=line.product_id,
                name=line.name,
                quantity=line.quantity,
                amount=line.amount,
                category=facts.get(f"{PRODUCTS.kind}/{line.product_id}", UNSET),
            )
            for line in command.lines
        ),
        item_count=sum(line.quantity for line in command.lines),
        total=sum(line.amount for line in command.lines),
        placed_at=command.placed_at or now,
        region=facts.get(f"{CUSTOMERS.kind}/{command.customer_id}", UNSET),
        fulfilment=command.fulfilment or UNSET,
    )


def _cancelled(order: Order, command: CancelOrder, at: datetime) -> OrderCancelled:
    return OrderCancelled(
        order_id=order.order_id,
        customer_id=order.customer_id,
        currency=order.currency,
        lines=tuple(Line(**asdict(line)) for line in order.lines),
        item_count=order.item_count,
        total=order.total,
        placed_at=order.placed_at,
        region=order.region,
        fulfilment=order.fulfilment,
        reason=command.reason,
        cancelled_at=at,
    )


def _invalid(command: Command, status: OrderStatus) -> NoReturn:
    wish = {
        PayOrder: "paid",
        ConfirmOrder: "confirmed",
        ShipOrder: "shipped",
        DeliverOrder: "delivered",
        CancelOrder: "cancelled",
    }[type(command)]
    raise Refused("invalid-transition", f"an order that is {status} cannot be {wish}")


AGGREGATE: Final = Aggregate(
    kind="orders",
    state=Order,
    decide=decide,
    evolve=evolve,
    commands=frozenset({PlaceOrder, PayOrder, ConfirmOrder, ShipOrder, DeliverOrder, CancelOrder}),
    creates={PlaceOrder: "order_id"},
    borrows={
        PlaceOrder: (
            Borrowed(CUSTOMERS.kind, "region", lambda command: (command.customer_id,), since=REGION_SINCE),
            Borrowed(PRODUCTS.kind, "category", lambda command: (line.product_id for line in command.lines)),
        )
    },
    state_version=4,
    closed=lambda order: order.status in (OrderStatus.DELIVERED, OrderStatus.CANCELLED),
)
