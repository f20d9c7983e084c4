"""Measures a projection: what a commit did, counted once for the commit, and how far each lane is, once a second."""

from collections.abc import Mapping
from datetime import datetime

from projectors.generations.roles import Role
from projectors.stores.port import Commit, HoldStatus
from shared.observability import metrics


def count_commit(projector: str, role: Role, commit: Commit, now: datetime) -> None:
    """Only what is read counts as applied; what is built, as rebuilt."""
    for hold in commit.holds.values():
        if hold.status is HoldStatus.GAP:
            metrics.GAPS.add(1, projector)
        else:
            metrics.FAILURES.add(1, projector, hold.status.value)
    if role is Role.FOLLOWING:
        return
    if role is Role.BUILDING:
        metrics.REBUILT.add(sum(len(each.events) for each in commit.advances), projector)
        return
    ages = [(now - event.time).total_seconds() for each in commit.advances for event in each.events]
    if ages:
        metrics.APPLIED.add(len(ages), projector)
        metrics.VISIBLE_SECONDS.observe_all(ages, projector)


def show_lanes(projector: str, as_of: Mapping[int, datetime], now: datetime) -> None:
    for lane, time in as_of.items():
        metrics.LAG.set((now - time).total_seconds(), projector, str(lane))
