"""Users in the summary: a document of each, and an audit row for every change, with the values before and after.

A change's values after are also what it changes in the document. So the document at any version is the audit's ``after`` up to that
version, one over the other, and ``/users/{id}/at`` needs nothing else.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from projectors.models.summary.documents import Appended, Documents, Row, Rule
from projectors.stores.folding import Fields
from projectors.stores.port import Event
from shared.contracts.accounts import (
    UserCreated,
    UserDeactivated,
    UserEmailChanged,
    UserReactivated,
    UserRenamed,
    UserRoleChanged,
)
from shared.contracts.values import EventData

CREATE_USERS: Final = """
INSERT INTO users (user_id, role, active, version, doc)
SELECT * FROM unnest($1::text[], $2::text[], $3::boolean[], $4::bigint[], $5::jsonb[])
ON CONFLICT (user_id) DO UPDATE SET
    role = excluded.role,
    active = excluded.active,
    version = excluded.version,
    doc = excluded.doc
"""

CHANGE_USERS: Final = """
UPDATE users SET
    role = coalesce(fields ->> 'role', users.role),
    active = coalesce((fields ->> 'active')::boolean, users.active),
    version = (fields ->> 'version')::bigint,
    doc = doc || fields
FROM unnest($1::text[], $2::jsonb[]) AS changed (user_id, fields)
WHERE users.user_id = changed.user_id
RETURNING users.user_id
"""

ERASE_USERS: Final = """
UPDATE users SET doc = erased(doc, '{name,email}') WHERE user_id = ANY ($1::text[])
"""

APPEND_AUDIT: Final = """
INSERT INTO user_audit (user_id, version, type, at, actor, before, after)
SELECT * FROM unnest(
    $1::text[], $2::bigint[], $3::text[], $4::timestamptz[], $5::text[], $6::json[], $7::json[]
)
"""

# As what the columns are: json.
ERASE_AUDIT: Final = """
UPDATE user_audit SET
    before = erased(before::jsonb, '{name,email}')::json,
    after = erased(after::jsonb, '{name,email}')::json
WHERE user_id = ANY ($1::text[])
"""

Change = tuple[Fields, Fields]
"""The values before and after, of the fields that an event changes."""


def _created(data: UserCreated) -> Change:
    return {}, {
        "user_id": data.user_id,
        "name": data.name,
        "email": data.email,
        "role": data.role,
        "active": True,
        "deactivation_reason": None,
        "created_at": data.created_at,
    }


def _renamed(data: UserRenamed) -> Change:
    return {"name": data.previous_name}, {"name": data.name}


def _email_changed(data: UserEmailChanged) -> Change:
    return {"email": data.previous_email}, {"email": data.email}


def _role_changed(data: UserRoleChanged) -> Change:
    return {"role": data.previous_role}, {"role": data.role}


def _deactivated(data: UserDeactivated) -> Change:
    return {"active": True, "deactivation_reason": None}, {"active": False, "deactivation_reason": data.reason}


def _reactivated(data: UserReactivated) -> Change:
    return {"active": False, "deactivation_reason": data.previous_reason}, {"active": True, "deactivation_reason": None}


def _rule(at: str, change: Callable[[Any], Change], *, creates: bool = False) -> Rule:
    return Rule(at, lambda data: change(data)[1], creates)


def _audited(at: str, change: Callable[[Any], Change]) -> Callable[[Event], Iterator[Row]]:
    def rows(event: Event) -> Iterator[Row]:
        data: Any = event.data
        yield data.user_id, event.version, event.type, getattr(data, at), event.actor, *change(data)

    return rows


_CHANGES: Final[Mapping[type[EventData], tuple[str, Callable[[Any], Change]]]] = {
    UserCreated: ("created_at", _created),
    UserRenamed: ("renamed_at", _renamed),
    UserEmailChanged: ("changed_at", _email_changed),
    UserRoleChanged: ("changed_at", _role_changed),
    UserDeactivated: ("deactivated_at", _deactivated),
    UserReactivated: ("reactivated_at", _reactivated),
}
"""Event → its field with the business time, and what it changes."""

DOCUMENTS: Final = Documents(
    name="users",
    columns=("user_id", "role", "active", "version"),
    create=CREATE_USERS,
    change=CHANGE_USERS,
    erase=ERASE_USERS,
    rules={cls: _rule(*change, creates=cls is UserCreated) for cls, change in _CHANGES.items()},
)
AUDIT: Final = Appended(
    name="user_audit",
    columns=("user_id", "version", "type", "at", "actor", "before", "after"),
    key=("user_id", "version"),
    stream="user_id",
    kind="users",
    insert=APPEND_AUDIT,
    rows={cls: _audited(*change) for cls, change in _CHANGES.items()},
    json=("before", "after"),
    erase=ERASE_AUDIT,
)
