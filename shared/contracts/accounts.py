"""Accounts: users of a system, their e-mail address, role, and whether they may use it.

Every event has the values before and after, so that an audit needs nothing but the events. Who requested a change is ``actor`` of the
event's envelope, taken from the command's.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final
from unicodedata import normalize

from pydantic import AfterValidator, Field

from shared.contracts.refusals import Refusal, Retry
from shared.contracts.values import CommandData, Email, EventData, EventTime, Id, Label, Name, SafeText, Upcaster
from shared.privacy.marks import Personal

MAX_EMAIL: Final = 320


def email_key(email: str) -> str:
    """Two addresses are the same if this is: canonical caseless matching (Unicode, section 3.13, D145), composed.

    Neither case (``ß`` is ``ss``) nor whether accents are composed makes a difference, before and after the ``@``. Nothing else is
    folded: ``ann+news@example.org``, ``a.nn@example.org`` and full-width letters are other addresses.
    """
    return normalize("NFC", normalize("NFD", email).casefold())


def _key_is_short(email: str) -> str:
    if len(email_key(email)) > MAX_EMAIL:
        raise ValueError(f"an e-mail address has at most {MAX_EMAIL} characters, also with its characters decomposed")
    return email


Address = Annotated[Email, AfterValidator(_key_is_short)]
Reason = Annotated[SafeText, Field(min_length=1, max_length=1000)]


class CreateUser(CommandData):
    personal_subject: ClassVar = ("users", "user_id")

    user_id: Id
    name: Personal[Name]
    email: Personal[Address]
    role: Label


class RenameUser(CommandData):
    personal_subject: ClassVar = ("users", "")

    name: Personal[Name]


class ChangeUserEmail(CommandData):
    personal_subject: ClassVar = ("users", "")

    email: Personal[Address]


class ChangeUserRole(CommandData):
    role: Label


class DeactivateUser(CommandData):
    reason: Reason


class ReactivateUser(CommandData):
    pass


class UserCreated(EventData, frozen=True, kw_only=True):
    """The user is active from here on."""

    user_id: str
    name: Personal[str]
    email: Personal[str]
    role: str
    created_at: EventTime


class UserRenamed(EventData, frozen=True, kw_only=True):
    user_id: str
    name: Personal[str]
    previous_name: Personal[str]
    renamed_at: EventTime


class UserEmailChanged(EventData, frozen=True, kw_only=True):
    user_id: str
    email: Personal[str]
    previous_email: Personal[str]
    changed_at: EventTime


class UserRoleChanged(EventData, frozen=True, kw_only=True):
    user_id: str
    role: str
    previous_role: str
    changed_at: EventTime


class UserDeactivated(EventData, frozen=True, kw_only=True):
    """The e-mail address stays the user's."""

    user_id: str
    reason: str
    deactivated_at: EventTime


class UserReactivated(EventData, frozen=True, kw_only=True):
    user_id: str
    previous_reason: str
    """Why the user had been deactivated."""
    reactivated_at: EventTime


KINDS: Final = ("users",)
"""The stream kinds of these events; a stream is ``<kind>/<id>``."""

PERSONS: Final = ("users",)
"""The kinds whose streams are persons."""

COMMANDS: Final[Mapping[str, type[CommandData]]] = {
    "accounts.create-user": CreateUser,
    "accounts.rename-user": RenameUser,
    "accounts.change-email": ChangeUserEmail,
    "accounts.change-role": ChangeUserRole,
    "accounts.deactivate-user": DeactivateUser,
    "accounts.reactivate-user": ReactivateUser,
}

EVENTS: Final[Mapping[type[EventData], tuple[str, int]]] = {
    UserCreated: ("accounts.user-created", 1),
    UserRenamed: ("accounts.user-renamed", 1),
    UserEmailChanged: ("accounts.email-changed", 1),
    UserRoleChanged: ("accounts.role-changed", 1),
    UserDeactivated: ("accounts.user-deactivated", 1),
    UserReactivated: ("accounts.user-reactivated", 1),
}
"""Event class → its type in messages, and the current schema version."""

UPCASTERS: Final[Mapping[tuple[str, int], Upcaster]] = {}
"""(event type, schema version) → the function that converts its data to the next schema version."""

REFUSALS: Final[Mapping[str, Refusal]] = {
    "user-already-exists": Refusal("There is a user with this id.", Retry.NEW_ID),
    "user-not-found": Refusal("There is no user with this id, or not yet.", Retry.NEW_ID),
    "user-email-taken": Refusal("The e-mail address belongs to another user, perhaps a deactivated one.", Retry.NEW_ID),
}
