"""A user: created active, changed at any time, deactivated, reactivated. An e-mail address belongs to one user at a time.

Addresses are compared by ``shared.contracts.accounts.email_key``. A deactivated user keeps theirs, so that nobody else receives what is
meant for them; to free it, give that user another one: deactivated users can be changed, too. A command that sets what is set already is
accepted, and nothing happens: there is no event, so the audit has only real changes.

Refusals: user-already-exists, user-not-found, user-email-taken.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, assert_never

from msgspec.structs import replace

from command_service.domain.aggregate import Aggregate, Claim, Claims, Refused, State
from shared.contracts.accounts import (
    ChangeUserEmail,
    ChangeUserRole,
    CreateUser,
    DeactivateUser,
    ReactivateUser,
    RenameUser,
    UserCreated,
    UserDeactivated,
    UserEmailChanged,
    UserReactivated,
    UserRenamed,
    UserRoleChanged,
    email_key,
)
from shared.contracts.values import EventData
from shared.privacy.marks import Personal

Command = CreateUser | RenameUser | ChangeUserEmail | ChangeUserRole | DeactivateUser | ReactivateUser
Event = UserCreated | UserRenamed | UserEmailChanged | UserRoleChanged | UserDeactivated | UserReactivated

EMAIL_SCOPE: Final = "user-email"


class User(State, frozen=True, kw_only=True):
    user_id: str
    name: Personal[str]
    email: Personal[str]
    role: str
    deactivation_reason: str | None = None
    """None: the user is active."""


def decide(user: User | None, command: Command, now: datetime) -> Sequence[Event]:
    if isinstance(command, CreateUser):
        if user is not None:
            raise Refused("user-already-exists", f"there is a user {command.user_id} already")
        return [UserCreated(**dict(command), created_at=now)]
    if user is None:
        raise Refused("user-not-found", "there is no such user")
    changed = _change(user, command, now)
    return [] if changed is None else [changed]


def _change(user: User, command: Command, now: datetime) -> Event | None:
    """None: it is so already."""
    id_ = user.user_id
    match command:
        case RenameUser(name=name) if name != user.name:
            return UserRenamed(user_id=id_, name=name, previous_name=user.name, renamed_at=now)
        case ChangeUserEmail(email=email) if email != user.email:
            return UserEmailChanged(user_id=id_, email=email, previous_email=user.email, changed_at=now)
        case ChangeUserRole(role=role) if role != user.role:
            return UserRoleChanged(user_id=id_, role=role, previous_role=user.role, changed_at=now)
        case DeactivateUser(reason=reason) if user.deactivation_reason is None:
            return UserDeactivated(user_id=id_, reason=reason, deactivated_at=now)
        case ReactivateUser() if user.deactivation_reason is not None:
            return UserReactivated(user_id=id_, previous_reason=user.deactivation_reason, reactivated_at=now)
        case _:
            return None


def evolve(user: User | None, event: Event) -> User:
    if isinstance(event, UserCreated):
        return User(user_id=event.user_id, name=event.name, email=event.email, role=event.role)
    if user is None:
        raise ValueError(f"{type(event).__name__} cannot begin a user")
    match event:
        case UserRenamed():
            return replace(user, name=event.name)
        case UserEmailChanged():
            return replace(user, email=event.email)
        case UserRoleChanged():
            return replace(user, role=event.role)
        case UserDeactivated():
            return replace(user, deactivation_reason=event.reason)
        case UserReactivated():
            return replace(user, deactivation_reason=None)
        case _:
            assert_never(event)


def claims(event: EventData) -> Claims:
    match event:
        case UserCreated(email=email):
            return Claims(take=[_address(email)])
        case UserEmailChanged(email=email, previous_email=previous):
            before = email_key(previous)
            if before == email_key(email):
                return Claims()
            return Claims(take=[_address(email)], release=[(EMAIL_SCOPE, before)])
        case _:
            return Claims()


def _address(email: str) -> Claim:
    return Claim(EMAIL_SCOPE, email_key(email), "user-email-taken", "this e-mail address belongs to another user")


AGGREGATE: Final = Aggregate(
    kind="users",
    state=User,
    decide=decide,
    evolve=evolve,
    commands=frozenset({CreateUser, RenameUser, ChangeUserEmail, ChangeUserRole, DeactivateUser, ReactivateUser}),
    creates={CreateUser: "user_id"},
    claims=claims,
    personal_claims=frozenset({EMAIL_SCOPE}),
)
