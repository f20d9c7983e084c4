"""Customers: who they are and how to reach them."""

from shared.contracts.values import CommandData, Email, EventData, Id, Name, Timestamp


class RegisterCustomer(CommandData):
    customer_id: Id
    name: Name
    email: Email | None = None


class RenameCustomer(CommandData):
    name: Name


class ChangeEmail(CommandData):
    email: Email


class CustomerRegistered(EventData):
    customer_id: str
    name: str
    email: str | None = None
    registered_at: Timestamp


class CustomerRenamed(EventData):
    customer_id: str
    name: str
    previous_name: str
    renamed_at: Timestamp


class EmailChanged(EventData):
    customer_id: str
    email: str
    previous_email: str | None = None
    changed_at: Timestamp
