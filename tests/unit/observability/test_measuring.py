"""What is counted: each command and each event once, by values that the code knows."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from command_service.handling.decision import Failed, Outcome, Scheduled
from command_service.handling.parsing import Command, Undecodable
from command_service.measuring import commands
from projectors.dead_letters.figures import show_letters
from projectors.generations.gauges import GenerationGauges
from projectors.generations.registry import DEFAULT_GENERATION
from projectors.generations.roles import Role
from projectors.runtime.measuring import count_commit, show_lanes
from projectors.runtime.retry import gap_hold
from projectors.stores.port import Commit, HoldStatus
from shared.observability import metrics
from shared.observability.families import FAMILIES, REGISTRY
from shared.views.generations import GenerationState
from tests import shop
from tests.unit.observability.deliveries import command

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    yield
    for family in FAMILIES:
        family.forget()


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def rejected(code: str) -> Outcome:
    return Outcome(msgspec.json.encode({"type": "command.rejected", "data": {"code": code, "message": "…"}}), False)


def test_commands_are_counted_by_type_outcome_and_code() -> None:
    pay = command("orders.pay-order")
    results: list[tuple[Command | Undecodable, Any]] = [
        (pay, Outcome(b"{}", True)),
        (pay, Outcome(b"{}", True)),
        (pay, rejected("order-not-found")),
        (pay, rejected("made-up")),
        (pay, Scheduled(NOW)),
        (pay, Failed(None, "process-killed")),
        (part := Undecodable(b"x", "malformed-message", "no", command_type="evil\n{}\"'"), part),
    ]
    commands.count(results, 0.03)
    found = {
        tuple(sample.labels[name] for name in ("type", "outcome", "code")): sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == "tidemark_commands_total"
    }
    assert found == {
        ("orders.pay-order", "accepted", ""): 2,
        ("orders.pay-order", "rejected", "order-not-found"): 1,
        ("orders.pay-order", "rejected", "other"): 1,
        ("orders.pay-order", "scheduled", ""): 1,
        ("orders.pay-order", "failed", "process-killed"): 1,
        ("other", "rejected", "malformed-message"): 1,
    }
    assert value("tidemark_command_seconds_count") == len(results)
    assert value("tidemark_command_seconds_bucket", le="0.025") == 0
    assert value("tidemark_command_seconds_bucket", le="0.05") == len(results)


def test_an_empty_batch_counts_nothing() -> None:
    commands.count([], 1.0)
    assert value("tidemark_command_seconds_count") is None


def commit_of(*ages: float) -> Commit:
    run = shop.run("orders/o-1", *([shop.placed("o-1")] * len(ages)))
    events = [
        msgspec.structs.replace(event, time=NOW - timedelta(seconds=age))
        for event, age in zip(run.events, ages, strict=True)
    ]
    return Commit([msgspec.structs.replace(run, events=events)])


def test_events_are_counted_with_the_time_until_they_were_visible() -> None:
    count_commit("summary", Role.ACTIVE, commit_of(0.02, 0.03, 400.0), NOW)
    assert value("tidemark_events_applied_total", projection="summary") == 3
    assert value("tidemark_command_visible_seconds_bucket", projection="summary", le="0.025") == 1
    assert value("tidemark_command_visible_seconds_bucket", projection="summary", le="60.0") == 2
    assert value("tidemark_command_visible_seconds_count", projection="summary") == 3
    assert value("tidemark_command_visible_seconds_sum", projection="summary") == pytest.approx(400.05)


def test_history_counts_as_rebuilt_and_what_nobody_reads_not_at_all() -> None:
    count_commit("summary", Role.BUILDING, commit_of(1.0, 1.0), NOW)
    count_commit("summary", Role.FOLLOWING, commit_of(1.0), NOW)
    assert value("tidemark_rebuild_events_total", projection="summary") == 2
    assert value("tidemark_events_applied_total", projection="summary") is None


def test_holds_are_counted_as_gaps_and_as_failures() -> None:
    gap = gap_hold(1, 3, NOW)
    holds = {
        "orders/a": gap,
        "orders/b": replace(gap, status=HoldStatus.DEAD),
        "orders/c": replace(gap, status=HoldStatus.RETRYING),
        "orders/d": replace(gap, status=HoldStatus.RETRYING),
    }
    count_commit("search", Role.ACTIVE, Commit(holds=holds), NOW)
    assert value("tidemark_gaps_total", projection="search") == 1
    assert value("tidemark_event_failures_total", projection="search", result="dead") == 1
    assert value("tidemark_event_failures_total", projection="search", result="retrying") == 2


def test_the_lag_of_a_lane_is_the_age_of_its_as_of() -> None:
    show_lanes("search", {0: NOW - timedelta(seconds=2.5), 3: NOW}, NOW)
    assert value("tidemark_projection_lag_seconds", projection="search", lane="0") == 2.5
    assert value("tidemark_projection_lag_seconds", projection="search", lane="3") == 0


def test_letters_are_counted_by_origin_and_the_newest_cause_is_dated_by_its_first_failure() -> None:
    def row(origin: str, status: str, fingerprint: str, letters: int, since: float) -> dict[str, object]:
        return {"origin": origin, "status": status, "fingerprint": fingerprint, "letters": letters, "since": since}

    show_letters(
        [
            row("summary", "dead", "old", 5, 100.0),
            row("summary", "replaying", "old", 1, 90.0),
            row("summary", "dead", "new", 1, 300.0),
            row("commands", "dead", "x", 2, 50.0),
        ]
    )
    assert value("tidemark_dead_letters", projection="summary", state="dead") == 6
    assert value("tidemark_dead_letters", projection="summary", state="replaying") == 1
    assert value("tidemark_dead_letter_groups", projection="summary") == 2
    assert value("tidemark_dead_letter_newest_group_timestamp_seconds", projection="summary") == 300
    assert value("tidemark_dead_letters", projection="search", state="dead") == 0
    show_letters([row("summary", "dead", "old", 5, 90.0)])
    assert value("tidemark_dead_letter_newest_group_timestamp_seconds", projection="summary") == 90
    assert value("tidemark_dead_letter_newest_group_timestamp_seconds", projection="commands") is None


def test_a_rebuild_says_how_much_is_left_and_for_how_long_at_the_rate_of_the_last_minute() -> None:
    now = 0.0
    building = DEFAULT_GENERATION.model_copy(
        update={"number": 2, "state": GenerationState.BUILDING, "active": False, "total": 10_000}
    )
    hosted = SimpleNamespace(generation=building, is_ready=False)
    active = SimpleNamespace(generation=DEFAULT_GENERATION, is_ready=True)
    generations: Any = [active, hosted]
    gauges = GenerationGauges("summary", generations, lambda: now)
    gauges.sample()
    assert value("tidemark_rebuild_remaining_seconds", projection="summary") == float("inf")
    for second in range(1, 101):  # 10 a second, then 50 a second for more than a minute
        now = float(second)
        scanned = 10 * min(second, 30) + 50 * max(0, second - 30)
        hosted.generation = building.model_copy(update={"scanned": scanned})
        gauges.sample()
    left = 10_000 - 3_800
    assert value("tidemark_rebuild_remaining_events", projection="summary") == left
    assert value("tidemark_rebuild_remaining_seconds", projection="summary") == pytest.approx(left / 50)
    assert value("tidemark_projection_stopped", projection="summary") == 0
    hosted.is_ready = True
    active.generation = DEFAULT_GENERATION.model_copy(update={"moving_to": "another"})
    gauges.sample()
    assert value("tidemark_rebuild_remaining_events", projection="summary") is None
    assert value("tidemark_projection_stopped", projection="summary") == 1


def test_nothing_else_is_exposed_by_a_deployable_than_what_is_declared_for_it() -> None:
    metrics.begin("relay")
    assert value("tidemark_relay_published_events_total") == 0
    assert value("tidemark_relay_publish_failures_total", reason="refused") == 0
    assert value("tidemark_command_seconds_count") is None
