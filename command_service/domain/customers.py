"""A customer, with a region for sales. An e-mail address, compared case-insensitively, belongs to one customer at a time.

Refusals: customer-already-registered, customer-not-found, email-already-taken.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, assert_never

from msgspec import UNSET
from msgspec.structs import replace

from command_service.domain.aggregate import Aggregate, Claim, Claims, Refused, State
from shared.contracts.customers import (
    ChangeEmail,
    ChangeRegion,
    CustomerRegistered,
    CustomerRenamed,
    EmailChanged,
    RegionChanged,
    RegisterCustomer,
    RenameCustomer,
)
from shared.contracts.values import EventData
from shared.privacy.marks import Personal

Command = RegisterCustomer | RenameCustomer | ChangeEmail | ChangeRegion
Event = CustomerRegistered | CustomerRenamed | EmailChanged | RegionChanged

EMAIL_SCOPE: Final = "customer-email"
REGION_SINCE: Final = 2
"""The first version of the state that has the region."""


class Customer(State, frozen=True, kw_only=True):
    customer_id: str
    name: Personal[str]
    email: Personal[str | None]
    region: str | None = None


def decide(customer: Customer | None, command: Command, now: datetime) -> Sequence[Event]:
    if isinstance(command, RegisterCustomer):
        if customer is not None:
            raise Refused("customer-already-registered", f"customer {command.customer_id} is already registered")
        return [CustomerRegistered(**dict(command) | {"region": command.region or UNSET}, registered_at=now)]
    if customer is None:
        raise Refused("customer-not-found", "there is no such customer")
    match command:
        case RenameCustomer():
            if command.name == customer.name:
                return []
            return [
                CustomerRenamed(
                    customer_id=customer.customer_id, name=command.name, previous_name=customer.name, renamed_at=now
                )
            ]
        case ChangeEmail():
            if command.email == customer.email:
                return []
            return [
                EmailChanged(
                    customer_id=customer.customer_id,
                    email=command.email,
                    previous_email=customer.email,
                    changed_at=now,
                )
            ]
        case ChangeRegion():
            if command.region == customer.region:
                return []
            return [
                RegionChanged(
                    customer_id=customer.customer_id,
                    region=command.region,
                    previous_region=customer.region,
                    changed_at=now,
                )
            ]
        case _:
            assert_never(command)


def evolve(customer: Customer | None, event: Event) -> Customer:
    if isinstance(event, CustomerRegistered):
        return Customer(customer_id=event.customer_id, name=event.name, email=event.email, region=event.region or None)
    if customer is None:
        raise ValueError(f"{type(event).__name__} cannot begin a customer")
    match event:
        case CustomerRenamed():
            return replace(customer, name=event.name)
        case EmailChanged():
            return replace(customer, email=event.email)
        case RegionChanged():
            return replace(customer, region=event.region)
        case _:
            assert_never(event)


def claims(event: EventData) -> Claims:
    match event:
        case CustomerRegistered(email=str(email)):
            return Claims(take=[_address(email)])
        case EmailChanged(email=email, previous_email=previous):
            if previous is None:
                return Claims(take=[_address(email)])
            if previous.lower() == email.lower():
                return Claims()
            return Claims(take=[_address(email)], release=[(EMAIL_SCOPE, previous.lower())])
        case _:
            return Claims()


def _address(email: str) -> Claim:
    return Claim(EMAIL_SCOPE, email.lower(), "email-already-taken", "this e-mail address belongs to another customer")


AGGREGATE: Final = Aggregate(
    kind="customers",
    state=Customer,
    decide=decide,
    evolve=evolve,
    commands=frozenset({RegisterCustomer, RenameCustomer, ChangeEmail, ChangeRegion}),
    creates={RegisterCustomer: "customer_id"},
    claims=claims,
    personal_claims=frozenset({EMAIL_SCOPE}),
    state_version=REGION_SINCE,
)
