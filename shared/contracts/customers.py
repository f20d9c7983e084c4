"""Customers: who they are and how to reach them."""

from shared.contracts.values import CommandData, Email, EventData, EventTime, Id, Name


class RegisterCustomer(CommandData):
    customer_id: Id
    name: Name
    email: Email | None = None


class RenameCustomer(CommandData):
    name: Name


class ChangeEmail(CommandData):
    email: Email


class CustomerRegistered(EventData, frozen=True, kw_only=True):
    customer_id: str
    name: str
    email: str | None = None
    registered_at: EventTime


class CustomerRenamed(EventData, frozen=True, kw_only=True):
    customer_id: str
    name: str
    previous_name: str
    renamed_at: EventTime


class EmailChanged(EventData, frozen=True, kw_only=True):
    customer_id: str
    email: str
    previous_email: str | None = None
    changed_at: EventTime
