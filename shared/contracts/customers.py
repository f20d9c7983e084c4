"""Customers: name, e-mail address and region."""

from collections.abc import Mapping
from typing import ClassVar, Final

from msgspec import UNSET

from shared.contracts.refusals import Refusal, Retry
from shared.contracts.values import CommandData, Email, EventData, EventTime, Fact, Id, Label, Name, Upcaster
from shared.privacy.marks import Personal


class RegisterCustomer(CommandData):
    personal_subject: ClassVar = ("customers", "customer_id")

    customer_id: Id
    name: Personal[Name]
    email: Personal[Email | None] = None
    region: Label | None = None
    """Where sales to this customer are counted: any name that the sender chooses, compared exactly."""


class RenameCustomer(CommandData):
    personal_subject: ClassVar = ("customers", "")

    name: Personal[Name]


class ChangeEmail(CommandData):
    personal_subject: ClassVar = ("customers", "")

    email: Personal[Email]


class ChangeRegion(CommandData):
    """Orders that are placed from now on are counted in the new region; those before stay in theirs."""

    region: Label


class CustomerRegistered(EventData, frozen=True, kw_only=True):
    customer_id: str
    name: Personal[str]
    email: Personal[str | None] = None
    region: Fact = UNSET
    registered_at: EventTime


class CustomerRenamed(EventData, frozen=True, kw_only=True):
    customer_id: str
    name: Personal[str]
    previous_name: Personal[str]
    renamed_at: EventTime


class EmailChanged(EventData, frozen=True, kw_only=True):
    customer_id: str
    email: Personal[str]
    previous_email: Personal[str | None] = None
    changed_at: EventTime


class RegionChanged(EventData, frozen=True, kw_only=True):
    customer_id: str
    region: str
    previous_region: str | None = None
    changed_at: EventTime


KINDS: Final = ("customers",)
"""The stream kinds of these events; a stream is ``<kind>/<id>``."""

PERSONS: Final = ("customers",)
"""The kinds whose streams are persons."""

COMMANDS: Final[Mapping[str, type[CommandData]]] = {
    "customers.register-customer": RegisterCustomer,
    "customers.rename-customer": RenameCustomer,
    "customers.change-email": ChangeEmail,
    "customers.change-region": ChangeRegion,
}

EVENTS: Final[Mapping[type[EventData], tuple[str, int]]] = {
    CustomerRegistered: ("customers.customer-registered", 1),
    CustomerRenamed: ("customers.customer-renamed", 1),
    EmailChanged: ("customers.email-changed", 1),
    RegionChanged: ("customers.region-changed", 1),
}
"""Event class → its type in messages, and the current schema version."""

UPCASTERS: Final[Mapping[tuple[str, int], Upcaster]] = {}
"""(event type, schema version) → the function that converts its data to the next schema version."""

REFUSALS: Final[Mapping[str, Refusal]] = {
    "customer-already-registered": Refusal("There is a customer with this id.", Retry.NEW_ID),
    "customer-not-found": Refusal("There is no customer with this id, or not yet.", Retry.NEW_ID),
    "email-already-taken": Refusal("The e-mail address belongs to another customer.", Retry.NEW_ID),
}
