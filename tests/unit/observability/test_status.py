"""``tidemark status``: every trouble is one finding of the right kind, with a command that exists; without trouble there is none."""

import io
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from deploy.cli.main import app
from deploy.observability.status.command import MAX_SHOWN, as_json, show
from deploy.run.deployables import DEPLOYABLES
from projectors.dead_letters.queue_figures import QueueFigures
from shared.status.findings import Kind, findings, hints
from shared.status.queues import QueueStates
from shared.status.snapshot import Job, LetterGroup, Outbox, ReportedProcess, Snapshot, Verification
from shared.views.generations import Incomplete, Stopped
from shared.views.processes import ProcessFigures
from shared.views.progress import Freshness, FreshnessStatus

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
CURRENT = Freshness(
    projection="summary",
    generation=1,
    epoch="e",
    status=FreshnessStatus.CURRENT,
    stopped=None,
    as_of=NOW,
    lag_seconds=0.7,
    events_applied=12,
    held=0,
    oldest_unapplied_seconds=None,
)
FIGURES = ProcessFigures(
    name="fulfilment",
    awaiting_start=0,
    running=3,
    failed=0,
    timers=4,
    timers_overdue=0,
    commands_unsent=0,
    commands_without_outcome=1,
    commands_overdue=0,
    stale_timers=0,
)
WELL = Snapshot(
    NOW,
    readiness={"query": None, "http": None},
    projections=[CURRENT],
    reported=[ReportedProcess("worker", 0.4, {})],
    outbox=Outbox(3, 0.2),
    queues=QueueStates({"commands": 5}, {"commands": 0}, []),
    groups=[],
    jobs=[Job(1, "running", "")],
    verified=Verification(NOW - timedelta(hours=3), True, 0),
    process_managers=[FIGURES],
)
STOPPED = Stopped(waits_for="operator", epoch="f", ahead=2, examples=("orders/o-1 at 3, not 2",), detail="2 are ahead")
GROUP = LetterGroup("search", "f", "projection-failed", 5, 17, NOW - timedelta(minutes=9))


def projection(**changes: Any) -> dict[str, Any]:
    return {"projections": [CURRENT.model_copy(update=changes)]}


TROUBLES: Mapping[str, tuple[dict[str, Any], Kind, str, str]] = {
    "behind": (
        projection(status=FreshnessStatus.BEHIND, lag_seconds=90.0),
        Kind.LATE,
        "90 s behind, and catching up",
        "tidemark projections status summary",
    ),
    "stalled": (
        projection(status=FreshnessStatus.STALLED, reason="summary: store: no answer"),
        Kind.STOPPED,
        "summary: store: no answer",
        "tidemark health summary",
    ),
    "epoch": (
        projection(stopped=STOPPED, status=FreshnessStatus.STALLED),
        Kind.STOPPED,
        "2 are ahead",
        "tidemark verify",
    ),
    "held": (projection(held=3), Kind.HELD, "3 streams are held", "tidemark dead-letters groups --projector summary"),
    "one held": (projection(held=1), Kind.HELD, "1 stream is held", "tidemark dead-letters groups --projector summary"),
    "incomplete": (
        projection(incomplete=Incomplete(kinds=("users",), detail="does not have users yet")),
        Kind.STOPPED,
        "does not have users yet",
        "tidemark projections rebuild summary",
    ),
    "no store": (
        {"unavailable": {"search": "no answer"}},
        Kind.STOPPED,
        "its store does not answer",
        "tidemark health search",
    ),
    "letters": (
        {"groups": [GROUP]},
        Kind.HELD,
        "5 dead letters for one cause (projection-failed)",
        "tidemark dead-letters show 17",
    ),
    "job": (
        {"jobs": [Job(4, "stopped", "too many failed")]},
        Kind.STOPPED,
        "replay job 4 is stopped: too many failed",
        "tidemark dead-letters jobs resume 4",
    ),
    "outbox": (
        {"outbox": Outbox(9000, 61.0)},
        Kind.LATE,
        "9,000 events in the outbox, the oldest for 61 s",
        "tidemark health relay",
    ),
    "no consumer": (
        {"queues": QueueStates({}, {"commands": 1, "commands.dead": 0}, [])},
        Kind.STOPPED,
        "nothing consumes from commands: is it running?",
        "tidemark health worker",
    ),
    "lanes without a consumer": (
        {"queues": QueueStates({}, {"fulfilment lanes": 2, "control.fulfilment": 1}, [])},
        Kind.STOPPED,
        "nothing consumes from fulfilment lanes, control.fulfilment: is it running?",
        "tidemark health processes",
    ),
    "no queue": (
        {"queues": QueueStates({}, {}, ["control.resend"])},
        Kind.STOPPED,
        "the queue control.resend does not exist",
        "tidemark migrate",
    ),
    "silent": (
        {"reported": [ReportedProcess("relay", 7.0, {})]},
        Kind.STOPPED,
        "said nothing for 7 s",
        "tidemark health relay",
    ),
    "trouble": (
        {"reported": [ReportedProcess("relay", 0.2, {"queues": "queue x is missing: run `tidemark migrate`"})]},
        Kind.STOPPED,
        "queues: queue x is missing",
        "tidemark health relay",
    ),
    "not ready": (
        {"readiness": {"query": "news: no connection"}},
        Kind.STOPPED,
        "not ready: news",
        "tidemark health query",
    ),
    "failed process": (
        {"process_managers": [FIGURES.model_copy(update={"failed": 2})]},
        Kind.HELD,
        "2 processes have failed",
        "tidemark processes list --name fulfilment --state failed",
    ),
    "overdue timer": (
        {"process_managers": [FIGURES.model_copy(update={"timers_overdue": 1})]},
        Kind.LATE,
        "1 timer overdue",
        "tidemark health processes",
    ),
    "overdue command": (
        {"process_managers": [FIGURES.model_copy(update={"commands_overdue": 1})]},
        Kind.LATE,
        "1 command sent again",
        "tidemark processes list --name fulfilment",
    ),
    "differences": (
        {"verified": Verification(NOW - timedelta(hours=3), True, 8)},
        Kind.LOST,
        "the last verification, 3 hours ago, found 8 differences",
        "tidemark verify",
    ),
    "query down": (
        {"down": {"the query service": "no answer"}, "projections": None, "reported": None},
        Kind.UNKNOWN,
        "does not answer: no answer",
        "tidemark health query",
    ),
    "database down": ({"down": {"the write database": "no answer"}, "outbox": None}, Kind.UNKNOWN, "no answer", ""),
}


def screen_of(found: Snapshot) -> str:
    output = io.StringIO()
    show(found, findings(found), Console(file=output, width=200))
    return output.getvalue()


def test_where_all_is_well_there_is_no_finding() -> None:
    assert findings(WELL) == []
    assert hints(WELL) == []
    said = screen_of(WELL)
    assert "all is well" in said
    assert [line.split()[0] for line in said.splitlines()[: len(Kind)]] == [kind.value for kind in Kind]
    assert len(said.splitlines()) < 25, "one screen"


@pytest.mark.parametrize("trouble", TROUBLES)
def test_each_trouble_is_one_finding_with_the_command_to_type(trouble: str) -> None:
    changes, kind, what, command = TROUBLES[trouble]
    found = replace(WELL, **changes)
    [finding] = findings(found)
    assert (finding.kind, finding.next) == (kind, command)
    assert what in finding.what
    assert finding.what in screen_of(found)
    assert as_json(found, [finding])["well"] is False


async def nothing_connected() -> Any:
    raise AssertionError("nothing is asked")


def test_every_queue_that_needs_a_consumer_has_a_deployable_that_reads_it() -> None:
    labels = QueueFigures(nothing_connected, lanes=4).with_consumer
    assert {"commands", "summary lanes", "commands.dead", "control.resend"} <= labels
    found = replace(WELL, queues=QueueStates({}, dict.fromkeys(labels, 1), []))
    readers = {finding.where for finding in findings(found)}
    assert readers == set(DEPLOYABLES) - {"http", "query"}


def test_every_command_that_it_says_exists() -> None:
    """With its options: ``--help`` after them is still the help of that command, and exit code 0."""
    for command in {command for _, _, _, command in TROUBLES.values() if command}:
        arguments = [each for each in command.split()[1:] if not each.isdecimal()]
        result = CliRunner().invoke(app, [*arguments, "--help"])
        assert result.exit_code == 0, command
        assert "Usage" in result.output


def test_many_findings_are_one_screen_and_hostile_text_is_harmless() -> None:
    groups = [replace(GROUP, example=n, reason="\x1b[2Jevil\n[bold]x") for n in range(500)]
    said = screen_of(replace(WELL, groups=groups))
    assert len(said.splitlines()) < 2 * MAX_SHOWN + 16
    assert f"… and {500 - MAX_SHOWN} more" in said
    assert "\x1b[2J" not in said
    assert "[bold]x" in said


def test_what_is_not_known_is_not_called_fine() -> None:
    found = replace(WELL, down={"the operations database": "no answer"}, groups=None, jobs=None, verified=None)
    said = screen_of(found)
    assert "lost    nothing that the parts which answer know of" in said
    assert "all is well" not in said
    assert hints(found) == []


def test_a_verification_that_is_old_or_missing_is_a_hint_and_no_finding() -> None:
    old = replace(WELL, verified=Verification(NOW - timedelta(days=3), True, 0))
    assert hints(old) == ["the last verification was 3 days ago: tidemark verify"]
    assert hints(replace(WELL, verified=None)) == ["nothing has been verified yet: tidemark verify"]
    assert findings(old) == []
