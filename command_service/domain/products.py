"""A product in the catalogue: its text, price, stock and reviews; ``reservations`` has what is set aside of the stock.

Refusals: product-already-exists, product-not-found, stock-limit, sku-already-used, review-already-added, and those of reservations.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, assert_never

from msgspec import UNSET, field
from msgspec.structs import replace

from command_service.domain import reservations
from command_service.domain.aggregate import Aggregate, Claim, Claims, Refused, State
from shared.contracts.catalog import (
    AddReview,
    ChangePrice,
    ConsumeStock,
    CreateProduct,
    PriceChanged,
    ProductCreated,
    ProductUpdated,
    ReceiveStock,
    ReleaseStock,
    ReserveStock,
    ReviewAdded,
    StockConsumed,
    StockReceived,
    StockReleased,
    StockReserved,
    UpdateProduct,
    Variant,
)
from shared.contracts.values import MAX_AMOUNT, EventData

Command = (
    CreateProduct | ChangePrice | UpdateProduct | ReceiveStock | ReserveStock | ReleaseStock | ConsumeStock | AddReview
)
Event = (
    ProductCreated
    | PriceChanged
    | ProductUpdated
    | StockReceived
    | StockReserved
    | StockReleased
    | StockConsumed
    | ReviewAdded
)


class Product(State, frozen=True, kw_only=True):
    product_id: str
    name: str
    description: str | None
    category: str
    brand: str | None
    price: int
    currency: str
    stock: int = 0
    """Units that are physically there, reserved ones included."""
    reserved: int = 0
    reservations: Mapping[str, int] = field(default_factory=dict)
    """Open reservation → the units that are left in it; ``reserved`` is their sum."""
    review_count: int = 0
    rating_sum: int = 0


def decide(product: Product | None, command: Command, now: datetime) -> Sequence[Event]:
    if isinstance(command, CreateProduct):
        if product is not None:
            raise Refused("product-already-exists", f"product {command.product_id} already exists")
        fields = dict(command) | {"variants": tuple(Variant(**dict(variant)) for variant in command.variants)}
        return [ProductCreated(**fields, created_at=now)]
    if product is None:
        raise Refused("product-not-found", "there is no such product")
    match command:
        case ChangePrice():
            return _change_price(product, command, now)
        case UpdateProduct():
            return _update(product, command, now)
        case ReceiveStock():
            stock = product.stock + command.quantity
            if stock > MAX_AMOUNT:
                raise Refused("stock-limit", f"the stock would be above {MAX_AMOUNT}")
            return [
                StockReceived(
                    product_id=product.product_id,
                    quantity=command.quantity,
                    stock=stock,
                    received_at=now,
                    reserved=product.reserved or UNSET,
                )
            ]
        case ReserveStock() | ReleaseStock() | ConsumeStock():
            return [
                reservations.decide(
                    product.product_id, product.stock, product.reserved, product.reservations, command, now
                )
            ]
        case AddReview():
            return [
                ReviewAdded(
                    **dict(command),
                    product_id=product.product_id,
                    review_count=product.review_count + 1,
                    rating_sum=product.rating_sum + command.rating,
                    added_at=now,
                )
            ]
        case _:
            assert_never(command)


def evolve(product: Product | None, event: Event) -> Product:
    if isinstance(event, ProductCreated):
        return Product(
            product_id=event.product_id,
            name=event.name,
            description=event.description,
            category=event.category,
            brand=event.brand,
            price=event.price,
            currency=event.currency,
        )
    if product is None:
        raise ValueError(f"{type(event).__name__} cannot begin a product")
    match event:
        case PriceChanged():
            return replace(product, price=event.price)
        case ProductUpdated():
            return replace(
                product, name=event.name, description=event.description, category=event.category, brand=event.brand
            )
        case StockReceived():
            return replace(product, stock=event.stock)
        case StockReserved() | StockReleased() | StockConsumed():
            return replace(
                product,
                stock=event.stock,
                reserved=event.reserved,
                reservations=reservations.evolve(product.reservations, event),
            )
        case ReviewAdded():
            return replace(product, review_count=event.review_count, rating_sum=event.rating_sum)
        case _:
            assert_never(event)


def claims(event: EventData) -> Claims:
    """A SKU belongs to one product; the ids of reviews and of reservations, closed ones included, are unique within their product."""
    match event:
        case ProductCreated():
            return Claims(
                take=[
                    Claim("sku", variant.sku, "sku-already-used", f"SKU {variant.sku} belongs to another product")
                    for variant in event.variants
                ]
            )
        case ReviewAdded():
            message = f"review {event.review_id} has already been added"
            return Claims(take=[Claim(f"review:{event.product_id}", event.review_id, "review-already-added", message)])
        case StockReserved():
            message = f"reservation {event.reservation_id} has already been made"
            scope = f"reservation:{event.product_id}"
            return Claims(take=[Claim(scope, event.reservation_id, "reservation-already-made", message)])
        case _:
            return Claims()


def _change_price(product: Product, command: ChangePrice, now: datetime) -> Sequence[Event]:
    if command.price == product.price:
        return []
    return [
        PriceChanged(
            product_id=product.product_id,
            previous_price=product.price,
            price=command.price,
            currency=product.currency,
            changed_at=now,
        )
    ]


def _update(product: Product, command: UpdateProduct, now: datetime) -> Sequence[Event]:
    before = {name: getattr(product, name) for name in ("name", "description", "category", "brand")}
    after = before | {name: value for name, value in dict(command).items() if value is not None}
    if after == before:
        return []
    return [ProductUpdated(product_id=product.product_id, **after, updated_at=now)]


AGGREGATE: Final = Aggregate(
    kind="products",
    state=Product,
    decide=decide,
    evolve=evolve,
    commands=frozenset(
        {
            CreateProduct,
            ChangePrice,
            UpdateProduct,
            ReceiveStock,
            ReserveStock,
            ReleaseStock,
            ConsumeStock,
            AddReview,
        }
    ),
    creates={CreateProduct: "product_id"},
    claims=claims,
    state_version=2,
)
