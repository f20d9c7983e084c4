"""Outcomes of the commands that processes have sent: each is an input of its process, once, and acknowledged after its commit.

A notice that there is no outcome yet (``command.pending``) is recorded beside the command; the outcome follows.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace
from pydantic import ValidationError
from pydantic_core import to_json

from projectors.process_runtime.store import ProcessStore
from projectors.processes.process import Input, OutcomeInput
from shared.messages.envelope import EnvelopeError, split
from shared.messages.outcomes import Accepted, OutcomeEnvelope, Pending, Rejected
from shared.runtime.failpoints import Failpoint, reached

COMMANDS_OF: Final = "SELECT command_id, process, key, traceparent FROM commands WHERE command_id = ANY ($1::text[])"

# Locked in the order of seq, as the relay locks them. The first outcome of a command is the one that counts.
KEEP_OUTCOMES: Final = """
WITH locked AS MATERIALIZED (
    SELECT seq, new.outcome, new.at
    FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS new (command_id, outcome, at)
    JOIN commands ON commands.command_id = new.command_id
    ORDER BY seq
    FOR UPDATE OF commands
)
UPDATE commands SET outcome = locked.outcome::json, outcome_at = locked.at, resend_at = NULL, pending = NULL
FROM locked WHERE commands.seq = locked.seq AND commands.outcome IS NULL
"""

KEEP_PENDING: Final = "UPDATE commands SET pending = $2 WHERE command_id = $1 AND outcome IS NULL"


def outcomes_in(body: bytes) -> Iterator[OutcomeEnvelope]:
    """The outcomes in a reply. What is none is skipped: a command without an outcome is sent again."""
    try:
        elements = split(body)
    except EnvelopeError:
        return
    for element in elements:
        try:
            yield OutcomeEnvelope.model_validate(element)
        except ValidationError:
            continue


def by_source(outcomes: Sequence[OutcomeEnvelope]) -> Mapping[str, list[OutcomeEnvelope]]:
    """The ``source`` of the commands → their outcomes."""
    found: dict[str, list[OutcomeEnvelope]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.commandsource is not None:
            found[outcome.commandsource].append(outcome)
    return found


async def receive(store: ProcessStore, outcomes: Sequence[OutcomeEnvelope]) -> None:
    """Record and decide these outcomes, in one transaction. Raises StoreUnavailableError; it is safe to call again."""
    async with store.transaction() as connection:
        ids = list({outcome.data.command_id for outcome in outcomes})
        rows = await connection.fetch(COMMANDS_OF, ids)
        commands = {row["command_id"]: (row["process"], row["key"], row["traceparent"]) for row in rows}
        given: list[tuple[str, Input]] = []
        kept: dict[str, tuple[str, str, Any]] = {}
        for outcome in outcomes:
            data = outcome.data
            if data.command_id not in commands:
                continue
            process, key, traceparent = commands[data.command_id]
            if isinstance(data, Pending):
                await connection.execute(KEEP_PENDING, data.command_id, f"{data.reason}: {data.message}"[:1000])
                continue
            given.append((process, replace(input_of(outcome, key), traceparent=traceparent)))
            kept.setdefault(data.command_id, (data.command_id, to_json(_record(data)).decode(), outcome.time))
        await store.handle(connection, given)
        if kept:
            await connection.execute(KEEP_OUTCOMES, *zip(*kept.values(), strict=True))
        reached(Failpoint.BEFORE_COMMIT)


def input_of(outcome: OutcomeEnvelope, key: str) -> OutcomeInput:
    match outcome.data:
        case Accepted(command_id=command_id, command_type=command_type, stream=stream, version=version):
            return OutcomeInput(outcome.id, outcome.time, key, command_id, command_type, True, stream, version)
        case data:
            code, message = (data.code, data.message) if isinstance(data, Rejected) else ("", "")
            return OutcomeInput(
                outcome.id, outcome.time, key, data.command_id, data.command_type, False, code=code, message=message
            )


def _record(data: Accepted | Rejected) -> dict[str, Any]:
    """What is shown of an outcome."""
    if isinstance(data, Accepted):
        return {"accepted": True, "stream": data.stream, "version": data.version}
    return {"accepted": False, "code": data.code, "message": data.message}
