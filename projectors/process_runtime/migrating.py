"""Moving processes to the current rules, and rebuilding their state: from their own history, which has every input in its order.

The history alone is the source: it has what the event store has not (outcomes, timers, operators' acts, and the order in which all were
decided). ``evolve`` is called again, ``decide`` is not: nothing is emitted, no timer is set or cancelled, and what was sent stays sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from projectors.process_runtime.deciding import NOT_DECIDED, Process, Progress, Status
from projectors.process_runtime.inputs import from_json
from projectors.processes.process import ProcessManager
from shared.runtime.postgres import Connection

HISTORY: Final = """
SELECT kind, input_id, at, body::text FROM inputs WHERE process = $1 AND decided > $2 ORDER BY decided
"""


@dataclass(frozen=True, slots=True)
class EvolvedAgain:
    """What the current rules make of a process's history."""

    version: int
    state_version: int
    state: str
    waiting_for: Sequence[str]
    changes: Sequence[str]
    """Which of version, state_version, state and waiting_for differ from what is stored."""
    problem: str | None = None
    """Why it cannot be evolved again."""


async def evolved_again(connection: Connection, manager: ProcessManager, process: Process) -> EvolvedAgain:
    """Evolve an unfinished process again from its history, by the current rules. Writes nothing."""
    unchanged = EvolvedAgain(manager.version, manager.state_version, "", (), ())
    if process.status not in (Status.RUNNING, Status.FAILED) or process.result is not None:
        return unchanged
    state = None
    for row in await connection.fetch(HISTORY, process.id, NOT_DECIDED):
        try:
            given = from_json(row["kind"], row["input_id"], row["at"], row["body"])
            state = manager.rules.evolve(state, given)
        except Exception as error:
            return _problem(unchanged, row["input_id"], error)
    if state is None:
        return unchanged
    stored = msgspec.json.encode(state).decode()
    waiting_for = tuple(dict.fromkeys(manager.rules.waiting_for(state)))
    before = (process.version, process.state_version, _plain(process.state), tuple(process.waiting_for))
    after = (manager.version, manager.state_version, _plain(stored), waiting_for)
    names = ("version", "state_version", "state", "waiting_for")
    changes = [name for name, old, new in zip(names, before, after, strict=True) if old != new]
    return EvolvedAgain(manager.version, manager.state_version, stored, waiting_for, changes)


def migrated(process: Process, found: EvolvedAgain) -> Progress:
    """The process as it is to be stored."""
    process.version, process.state_version = found.version, found.state_version
    process.state, process.current, process.waiting_for = found.state, None, found.waiting_for
    return Progress(process)


def _problem(unchanged: EvolvedAgain, input_id: str, error: Exception) -> EvolvedAgain:
    problem = f"the current rules fail on {input_id}: {type(error).__name__}: {error}"[:1000]
    return EvolvedAgain(unchanged.version, unchanged.state_version, "", (), (), problem)


def _plain(state: str | None) -> object:
    return None if state is None else msgspec.json.decode(state)
