"""Events of a user, for tests: each builder gives what a test does not care about a plain value."""

from shared.contracts.accounts import (
    UserCreated,
    UserDeactivated,
    UserEmailChanged,
    UserReactivated,
    UserRenamed,
    UserRoleChanged,
)
from tests.shop import NOON


def created(
    user_id: str = "u-1", *, name: str = "Ann", email: str = "ann@example.org", role: str = "clerk"
) -> UserCreated:
    return UserCreated(user_id=user_id, name=name, email=email, role=role, created_at=NOON)


def renamed(user_id: str = "u-1", *, name: str = "Bea", previous: str = "Ann") -> UserRenamed:
    return UserRenamed(user_id=user_id, name=name, previous_name=previous, renamed_at=NOON)


def new_email(
    user_id: str = "u-1", *, email: str = "bea@example.org", previous: str = "ann@example.org"
) -> UserEmailChanged:
    return UserEmailChanged(user_id=user_id, email=email, previous_email=previous, changed_at=NOON)


def new_role(user_id: str = "u-1", *, role: str = "admin", previous: str = "clerk") -> UserRoleChanged:
    return UserRoleChanged(user_id=user_id, role=role, previous_role=previous, changed_at=NOON)


def deactivated(user_id: str = "u-1", *, reason: str = "left") -> UserDeactivated:
    return UserDeactivated(user_id=user_id, reason=reason, deactivated_at=NOON)


def reactivated(user_id: str = "u-1", *, reason: str = "left") -> UserReactivated:
    return UserReactivated(user_id=user_id, previous_reason=reason, reactivated_at=NOON)
