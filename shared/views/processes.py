"""Processes, as the query service and the command line answer with them, and the statements that read them.

The statements run in the schema of one process manager. ``state``, ``failure``, ``data``, ``body`` and ``outcome`` are JSON text.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal

from pydantic import BaseModel, Field

LATEST: Final = 200
"""How many inputs, and how many commands, of a process are shown."""

MAX_NUMBER: Final = 2**63 - 1


class ProcessStatus(StrEnum):
    AWAITING_START = "awaiting-start"
    RUNNING = "running"
    FAILED = "failed"
    DONE = "done"


class FailureView(BaseModel):
    """The input that the process failed on. It waits, with all after it, for an operator's retry."""

    input_id: str
    exception: str
    fingerprint: str
    at: datetime


class ProcessView(BaseModel):
    """A process, in short."""

    name: str = Field(description="The process manager's name.")
    process_id: str
    status: ProcessStatus
    waiting_for: list[str] = Field(description="What it waits for, as its process manager calls it.")
    result: str | None = Field(description="What it was finished with.")
    failure: FailureView | None
    version: int | None = Field(description="The version of the rules that it began with; null before the start.")
    inputs_waiting: int = Field(description="Inputs that have arrived and wait: for the start, or behind a failure.")
    commands_without_outcome: int
    next_timer_at: datetime | None
    started_at: datetime | None
    updated_at: datetime
    done_at: datetime | None


class InputView(BaseModel):
    number: int = Field(description="In the order of arrival, from 1.")
    input_id: str
    kind: Literal["event", "outcome", "timer", "operator"]
    at: datetime
    received_at: datetime
    decided: int | None = Field(
        description="Its place in the order of decisions; null: it waits; 0: it was not decided on (an operator's retry, a stale timer)."
    )
    body: dict[str, Any]


class TimerView(BaseModel):
    name: str
    due_at: datetime
    held: bool = Field(description="True: the process has failed, and the timer fires after the retry.")


class SentCommandView(BaseModel):
    command_id: str
    key: str = Field(description="The process's own name for it.")
    type: str
    subject: str
    data: dict[str, Any]
    input_id: str = Field(description="The input on which it was decided.")
    decided_at: datetime
    sent_at: datetime | None = Field(description="When the broker first confirmed it; null: not yet.")
    sends: int
    pending: str | None = Field(description="Why there is no outcome yet, as the command service says.")
    outcome: dict[str, Any] | None
    outcome_at: datetime | None


class ProcessDetail(ProcessView):
    """A process with its state, its timers, and its latest inputs and commands, the newest first."""

    state: dict[str, Any] | None
    timers: list[TimerView]
    history: list[InputView] = Field(description=f"The latest {LATEST} inputs.")
    history_total: int
    commands: list[SentCommandView] = Field(description=f"The latest {LATEST} commands.")
    commands_total: int
    pruned_at: datetime | None = Field(
        description="When the inputs and commands of a finished process were removed by their age; null: they are there."
    )


PROCESS: Final = """
SELECT number, id AS process_id, status, to_json(waiting_for)::text AS waiting_for, result, failure::text AS failure, version,
    state::text AS state, started_at, updated_at, done_at, pruned_at, received AS history_total,
    (SELECT count(*) FROM inputs WHERE process = processes.id AND decided IS NULL) AS inputs_waiting,
    (SELECT count(*) FROM commands WHERE process = processes.id AND outcome IS NULL) AS commands_without_outcome,
    (SELECT count(*) FROM commands WHERE process = processes.id) AS commands_total,
    (SELECT min(due_at) FROM timers WHERE process = processes.id) AS next_timer_at
FROM processes WHERE id = $1
"""

# One branch runs, depending on which filters are given.
PROCESSES_PAGE: Final = """
WITH found AS MATERIALIZED (
    (SELECT * FROM processes WHERE $1::text IS NULL AND $2::text IS NULL AND number < $3 ORDER BY number DESC LIMIT $4)
    UNION ALL
    (SELECT * FROM processes WHERE $2::text IS NULL AND status = $1 AND number < $3 ORDER BY number DESC LIMIT $4)
    UNION ALL
    (SELECT * FROM processes
     WHERE status <> 'done' AND waiting_for @> ARRAY[$2::text] AND ($1::text IS NULL OR status = $1) AND number < $3
     ORDER BY number DESC LIMIT $4)
)
SELECT number, id AS process_id, status, to_json(waiting_for)::text AS waiting_for, result, failure::text AS failure, version,
    started_at, updated_at, done_at,
    (SELECT count(*) FROM inputs WHERE process = found.id AND decided IS NULL) AS inputs_waiting,
    (SELECT count(*) FROM commands WHERE process = found.id AND outcome IS NULL) AS commands_without_outcome,
    (SELECT min(due_at) FROM timers WHERE process = found.id) AS next_timer_at
FROM found ORDER BY number DESC
"""
"""$1: the status, or NULL; $2: what it waits for, or NULL; $3: the number of the last process of the page before, or MAX_NUMBER."""

HISTORY: Final = """
SELECT number, input_id, kind, at, received_at, decided, body::text AS body FROM inputs WHERE process = $1
ORDER BY number DESC LIMIT $2
"""

TIMERS_SET: Final = "SELECT name, due_at, held FROM timers WHERE process = $1 ORDER BY due_at, name"

SENT_COMMANDS: Final = """
SELECT command_id, key, type, subject, data::text AS data, input_id, decided_at, sent_at, sends, pending, outcome::text AS outcome,
    outcome_at
FROM commands WHERE process = $1 ORDER BY seq DESC LIMIT $2
"""

FIGURES: Final = """
SELECT
    (SELECT count(*) FROM processes WHERE status = 'awaiting-start') AS awaiting_start,
    (SELECT count(*) FROM processes WHERE status = 'running') AS running,
    (SELECT count(*) FROM processes WHERE status = 'failed') AS failed,
    (SELECT count(*) FROM timers) AS timers,
    (SELECT count(*) FROM timers WHERE NOT held AND due_at < (SELECT clock_timestamp() - interval '5 seconds')) AS timers_overdue,
    (SELECT count(*) FROM commands WHERE sent_at IS NULL) AS commands_unsent,
    (SELECT count(*) FROM commands WHERE resend_at IS NOT NULL) AS commands_without_outcome,
    (SELECT count(*) FROM commands WHERE resend_at IS NOT NULL AND sends > 1) AS commands_overdue,
    coalesce((SELECT value FROM counters WHERE name = 'stale-timer'), 0) AS stale_timers
"""


FAILED: Final = """
SELECT count(*) AS failed, min(id) AS example, min((failure ->> 'at')::timestamptz) AS since FROM processes WHERE status = 'failed'
"""
"""``example``: one of them; ``since``: when the one that failed first did."""

HISTORY_PAGE: Final = """
SELECT number, input_id, kind, at, received_at, decided, body::text AS body FROM inputs WHERE process = $1 AND number < $2
ORDER BY number DESC LIMIT $3
"""
"""$2: the number of the last input of the page before, or MAX_INPUT."""

KNOWN: Final = "SELECT EXISTS (SELECT FROM processes WHERE id = $1) AS known"

MAX_INPUT: Final = 2**31 - 1


class ProcessFigures(BaseModel):
    """What waits in one process manager, and what is late."""

    name: str
    awaiting_start: int
    running: int
    failed: int
    timers: int
    timers_overdue: int = Field(description="Due for more than 5 seconds.")
    commands_unsent: int
    commands_without_outcome: int
    commands_overdue: int = Field(description="Sent more than once, and without an outcome.")
    stale_timers: int = Field(description="Timers that were due but no longer set: each changed nothing.")
