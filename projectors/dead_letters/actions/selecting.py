"""Actions on a selection of letters: replay, which freezes the selection into a job, and discard.

Functions here run within the request's transaction; they raise Refusal.
"""

from typing import Final

from projectors.dead_letters.actions.audit import record, record_letters
from projectors.dead_letters.actions.refusal import Refusal
from projectors.dead_letters.letters.marks import mark
from projectors.dead_letters.replaying.items import finish_items
from shared.messages.control import Discard, Replay, Selection
from shared.messaging import topology
from shared.runtime.postgres import Connection
from shared.views.operations import Done, LetterPreview
from shared.views.operations_queries import Parameters, parameters

PREVIEW_LETTERS: Final = 20

# Events are resent from the event store, commands from the letter; bytes that name no stream cannot be replayed.
COUNT: Final = """
SELECT count(*) AS live, count(*) FILTER (WHERE stream IS NOT NULL OR origin = 'commands') AS replayable
FROM matching($1, $2, $3, $4, $5, $6, $7, $8) WHERE live
"""
PREVIEW: Final = """
SELECT id, origin, stream, version, type, command_id, exception, attempts, last_failed_at
FROM matching($1, $2, $3, $4, $5, $6, $7, $8)
WHERE live AND (NOT $9 OR stream IS NOT NULL OR origin = 'commands')
ORDER BY id LIMIT $10
"""
ANY_EXISTS: Final = "SELECT EXISTS (SELECT FROM letters WHERE id = ANY ($1::bigint[]))"
NEW_JOB: Final = """
INSERT INTO jobs (request_id, actor, reason, selection, rate, canary, concurrency, stop_after, ramp)
VALUES ($1, $2, $3, $4::jsonb, $5, $6, $7, $8, $9) RETURNING id
"""
FREEZE: Final = """
WITH frozen AS (
    INSERT INTO job_items (job_id, ord, letter_id, fingerprint)
    SELECT $9, row_number() OVER (ORDER BY id), id, fingerprint
    FROM matching($1, $2, $3, $4, $5, $6, $7, $8)
    WHERE live AND (stream IS NOT NULL OR origin = 'commands')
    RETURNING ord
)
UPDATE jobs SET total = (SELECT count(*) FROM frozen) WHERE id = $9 RETURNING total
"""
LIVE_IDS: Final = """
SELECT id FROM matching($1, $2, $3, $4, $5, $6, $7, $8) WHERE live ORDER BY id
"""
# Letters that no projection waits for are discarded at once …
CLOSE: Final = """
UPDATE letters SET status = 'discarded', resolved_at = now(), resolution = 'discarded'
WHERE id = ANY ($1::bigint[]) AND live AND (stream IS NULL OR origin = 'commands')
RETURNING id
"""
# … an event once its projection reports that it has stepped over it.
REQUEST_DISCARDS: Final = """
INSERT INTO discards (letter_id, request_id, actor, reason)
SELECT id, $2, $3, $4 FROM letters
WHERE id = ANY ($1::bigint[]) AND live AND stream IS NOT NULL AND origin <> 'commands'
ON CONFLICT (letter_id) DO UPDATE SET
    request_id = excluded.request_id, actor = excluded.actor, reason = excluded.reason, at = now(), due_at = now(), asks = 0
"""


async def replay(connection: Connection, act: Replay, request_id: str) -> Done:
    chosen = _criteria(act.selection)
    counts = await connection.fetchrow(COUNT, *chosen)
    assert counts is not None  # noqa: S101 - an aggregate always gives a row
    count, left_out = counts["replayable"], counts["live"] - counts["replayable"]
    if not count:
        raise await _nothing_selected(connection, act.selection, left_out)
    letters = await _preview(connection, chosen, replayable=True)
    job_id = None
    if not act.dry_run:
        selection = act.selection.model_dump_json(exclude_none=True)
        limits = (act.rate, act.canary, act.concurrency, act.stop_after, list(act.ramp))
        job_id = await connection.fetchval(NEW_JOB, request_id, act.actor, act.reason, selection, *limits)
        count = await connection.fetchval(FREEZE, *chosen, job_id)
        details = act.model_dump_json(exclude={"actor", "behind", "reason", "dry_run"}, exclude_none=True)
        await record(
            connection,
            act.actor,
            "replay",
            act.reason,
            job_id=job_id,
            request_id=request_id,
            details=details,
            behind=act.behind,
        )
    return Done(
        request_id=request_id,
        verb="replay",
        dry_run=act.dry_run,
        job_id=job_id,
        count=count,
        left_out=left_out,
        letters=letters,
    )


async def discard(connection: Connection, act: Discard, request_id: str) -> Done:
    chosen = _criteria(act.selection)
    ids = [row["id"] for row in await connection.fetch(LIVE_IDS, *chosen)]
    if not ids:
        raise await _nothing_selected(connection, act.selection, 0)
    letters = await _preview(connection, chosen, replayable=False)
    if not act.dry_run:
        await record_letters(connection, act.actor, "discard", act.reason, ids, request_id, behind=act.behind)
        closed = [row["id"] for row in await connection.fetch(CLOSE, ids)]
        await finish_items(connection, closed, ["discarded"] * len(closed))
        await mark(connection, closed, topology.DISCARDED)
        await connection.execute(REQUEST_DISCARDS, ids, request_id, act.actor, act.reason)
    return Done(request_id=request_id, verb="discard", dry_run=act.dry_run, count=len(ids), letters=letters)


def _criteria(selection: Selection) -> Parameters:
    if selection.model_dump(exclude={"everything"}, exclude_none=True) or selection.everything:
        return parameters(selection)
    message = "at least one criterion is required, or everything: true"
    raise Refusal("validation-failed", message, [{"field": "selection", "message": message}])


async def _preview(connection: Connection, chosen: Parameters, *, replayable: bool) -> list[LetterPreview]:
    rows = await connection.fetch(PREVIEW, *chosen, replayable, PREVIEW_LETTERS)
    return [LetterPreview(**{**row, "exception": row["exception"][:200]}) for row in rows]


async def _nothing_selected(connection: Connection, selection: Selection, left_out: int) -> Refusal:
    if selection.letter_ids and not await connection.fetchval(ANY_EXISTS, parameters(selection)[0]):
        return Refusal("letter-not-found", "there is no letter with any of these ids")
    if left_out:
        return Refusal(
            "nothing-selected", f"{left_out} letters match, but they name no stream: they can only be discarded"
        )
    return Refusal("nothing-selected", "no live letter matches")
