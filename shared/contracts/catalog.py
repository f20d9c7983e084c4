"""Catalogue: products, their price, stock and reviews. Money is in minor units of ``currency``."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Self

from msgspec import UNSET, UnsetType
from pydantic import AfterValidator, Field, Strict, model_validator

from shared.contracts.laws import Law, Totals
from shared.contracts.refusals import Refusal, Retry
from shared.contracts.values import (
    Amount,
    CommandData,
    Count,
    Currency,
    EventData,
    EventPart,
    EventTime,
    Id,
    Label,
    Name,
    Quantity,
    Text,
    Upcaster,
)
from shared.privacy.marks import Personal

Rating = Annotated[int, Strict(), Field(ge=1, le=5)]


class ProductVariant(CommandData):
    sku: Id
    size: Label | None = None
    colour: Label | None = None


def _skus_differ(variants: tuple[ProductVariant, ...]) -> tuple[ProductVariant, ...]:
    if len({variant.sku for variant in variants}) != len(variants):
        raise ValueError("two variants have the same sku")
    return variants


class CreateProduct(CommandData):
    product_id: Id
    name: Name
    description: Text | None = None
    category: Label
    brand: Label | None = None
    price: Amount
    currency: Currency
    variants: Annotated[tuple[ProductVariant, ...], Count(0, 200), AfterValidator(_skus_differ)] = ()


class ChangePrice(CommandData):
    price: Amount


class UpdateProduct(CommandData):
    """At least one field; omitted fields stay unchanged."""

    name: Name | None = None
    description: Text | None = None
    category: Label | None = None
    brand: Label | None = None

    @model_validator(mode="after")
    def _has_a_change(self) -> Self:
        if not any(value is not None for value in (self.name, self.description, self.category, self.brand)):
            raise ValueError("give at least one of name, description, category, brand")
        return self


class ReceiveStock(CommandData):
    quantity: Quantity


class ReserveStock(CommandData):
    """Set units aside for someone: they stay in stock, and are no longer available."""

    reservation_id: Id
    quantity: Quantity


class ReleaseStock(CommandData):
    """Make reserved units available again."""

    reservation_id: Id
    quantity: Quantity | None = Field(default=None, description="At most what is still open; absent: all of it.")


class ConsumeStock(CommandData):
    """Reserved units leave the stock."""

    reservation_id: Id
    quantity: Quantity | None = Field(default=None, description="At most what is still open; absent: all of it.")


class AddReview(CommandData):
    personal_subject: ClassVar = ("customers", "customer_id")

    review_id: Id
    rating: Rating
    text: Personal[Text | None] = None
    customer_id: Id | None = None


class Variant(EventPart, frozen=True, kw_only=True):
    sku: str
    size: str | None = None
    colour: str | None = None


class ProductCreated(EventData, frozen=True, kw_only=True):
    product_id: str
    name: str
    description: str | None = None
    category: str
    brand: str | None = None
    price: int
    currency: str
    variants: tuple[Variant, ...] = ()
    created_at: EventTime


class PriceChanged(EventData, frozen=True, kw_only=True):
    product_id: str
    previous_price: int
    price: int
    currency: str
    changed_at: EventTime


class ProductUpdated(EventData, frozen=True, kw_only=True):
    """The product's complete text after the change."""

    product_id: str
    name: str
    description: str | None = None
    category: str
    brand: str | None = None
    updated_at: EventTime


class StockReceived(EventData, frozen=True, kw_only=True):
    product_id: str
    quantity: int
    stock: int
    """Units in stock after this delivery."""
    received_at: EventTime
    reserved: int | UnsetType = UNSET
    """Units of them that are reserved; absent: none."""


class StockReserved(EventData, frozen=True, kw_only=True):
    product_id: str
    reservation_id: str
    quantity: int
    stock: int
    reserved: int
    """Units in all open reservations after this, as ``stock`` is the units after this: available = stock - reserved."""
    reserved_at: EventTime


class StockReleased(EventData, frozen=True, kw_only=True):
    product_id: str
    reservation_id: str
    quantity: int
    open: int
    """Units that are left in this reservation; 0: it is closed."""
    stock: int
    reserved: int
    released_at: EventTime


class StockConsumed(EventData, frozen=True, kw_only=True):
    product_id: str
    reservation_id: str
    quantity: int
    open: int
    stock: int
    reserved: int
    consumed_at: EventTime


class ReviewAdded(EventData, frozen=True, kw_only=True):
    personal_subject: ClassVar = ("customers", "customer_id")

    product_id: str
    review_id: str
    rating: int
    text: Personal[str | None] = None
    customer_id: str | None = None
    review_count: int
    rating_sum: int
    """Sum of all ratings so far, including this one: average = rating_sum / review_count."""
    added_at: EventTime


KINDS: Final = ("products",)
"""The stream kinds of these events; a stream is ``<kind>/<id>``."""

COMMANDS: Final[Mapping[str, type[CommandData]]] = {
    "catalog.create-product": CreateProduct,
    "catalog.change-price": ChangePrice,
    "catalog.update-product": UpdateProduct,
    "catalog.receive-stock": ReceiveStock,
    "catalog.reserve-stock": ReserveStock,
    "catalog.release-stock": ReleaseStock,
    "catalog.consume-stock": ConsumeStock,
    "catalog.add-review": AddReview,
}

EVENTS: Final[Mapping[type[EventData], tuple[str, int]]] = {
    ProductCreated: ("catalog.product-created", 1),
    PriceChanged: ("catalog.price-changed", 1),
    ProductUpdated: ("catalog.product-updated", 1),
    StockReceived: ("catalog.stock-received", 1),
    StockReserved: ("catalog.stock-reserved", 1),
    StockReleased: ("catalog.stock-released", 1),
    StockConsumed: ("catalog.stock-consumed", 1),
    ReviewAdded: ("catalog.review-added", 1),
}
"""Event class → its type in messages, and the current schema version."""

UPCASTERS: Final[Mapping[tuple[str, int], Upcaster]] = {}
"""(event type, schema version) → the function that converts its data to the next schema version."""

REFUSALS: Final[Mapping[str, Refusal]] = {
    "product-already-exists": Refusal("There is a product with this id.", Retry.NEW_ID),
    "product-not-found": Refusal("There is no product with this id, or not yet.", Retry.NEW_ID),
    "sku-already-used": Refusal("The SKU of a variant belongs to another product.", Retry.NEW_ID),
    "review-already-added": Refusal("The product has a review with this id.", Retry.NEW_ID),
    "stock-limit": Refusal("The stock would be larger than can be kept.", Retry.NEW_ID),
    "insufficient-stock": Refusal("Fewer units are available than are to be reserved.", Retry.NEW_ID),
    "reservation-already-made": Refusal("The product has, or had, a reservation with this id.", Retry.NEW_ID),
    "too-many-reservations": Refusal("The product has as many open reservations as can be kept.", Retry.NEW_ID),
    "reservation-not-open": Refusal("The product has no open reservation with this id.", Retry.NEW_ID),
    "reservation-exceeded": Refusal("The reservation has fewer units left.", Retry.NEW_ID),
}


def _stock_amounts(event: EventData) -> tuple[str, Totals]:
    match event:
        case StockReceived():
            return event.product_id, {"received": event.quantity}
        case StockReserved():
            return event.product_id, {"reserved": event.quantity}
        case StockReleased():
            return event.product_id, {"reserved": -event.quantity}
        case StockConsumed():
            return event.product_id, {"reserved": -event.quantity, "consumed": event.quantity}
        case _:
            raise TypeError(f"{type(event).__name__} says nothing of stock")


def _stock(totals: Totals) -> int:
    return totals.get("received", 0) - totals.get("consumed", 0)


def _reserved(totals: Totals) -> int:
    return totals.get("reserved", 0)


def _overdrawn(totals: Totals) -> str | None:
    stock, reserved = _stock(totals), _reserved(totals)
    return None if 0 <= reserved <= stock else f"{reserved} units are reserved of {stock} in stock"


LAWS: Final = (
    Law(
        name="stock-is-conserved",
        statement="What was received of a product is available, reserved or consumed.",
        kind="products",
        events=frozenset({StockReceived, StockReserved, StockReleased, StockConsumed}),
        amounts=_stock_amounts,
        broken=_overdrawn,
        stated={
            "stock": _stock,
            "reserved": _reserved,
            "available": lambda totals: _stock(totals) - _reserved(totals),
        },
    ),
)
