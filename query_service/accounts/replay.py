"""Replays a user's audit: pure. The state of any time is its changes up to then, one over the other."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple


class AuditedChange(NamedTuple):
    version: int
    at: datetime
    after: Mapping[str, Any]
    """The fields that the change set."""


def replayed(before: Mapping[str, Any], changes: Iterable[AuditedChange]) -> dict[str, Any]:
    """The fields of ``shared.views.accounts.UserView`` after these changes, in the order of their versions.

    ``before``: the fields until then.
    """
    state = dict(before)
    for change in changes:
        state |= change.after
        state |= {"updated_at": change.at, "version": change.version}
    return state
