"""The statements that read the operations database. Their rows fit the models in ``shared.views.operations``.

``$1 … $8`` are the criteria of a selection, from ``parameters``; they are passed to the function ``matching`` of the schema, which is
inlined. Run the statements with ``search_path = operations`` and, on pooled connections, ``plan_cache_mode = force_custom_plan``: the
best index depends on the criteria. ``details``, ``headers`` and ``selection`` are JSON text.
"""

from datetime import datetime
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict

from shared.messages.control import Selection

MAX_ID: Final = 2**63 - 1

GROUPS: Final = """
WITH parts AS (
    SELECT origin, fingerprint, type, count(*) AS count, count(*) FILTER (WHERE status = 'replaying') AS replaying,
        sum(greatest(seen - version, 0)) AS waiting, min(first_failed_at) AS first_failed_at,
        max(last_failed_at) AS last_failed_at, max(id) AS example
    FROM matching($1, $2, $3, $4, $5, $6, $7, $8)
    WHERE live
    GROUP BY origin, fingerprint, type
), groups AS (
    SELECT origin, fingerprint, sum(count)::bigint AS count, sum(replaying)::bigint AS replaying,
        coalesce(sum(waiting), 0)::bigint AS waiting, min(first_failed_at) AS first_failed_at,
        max(last_failed_at) AS last_failed_at, max(example) AS example,
        coalesce(array_agg(type ORDER BY type) FILTER (WHERE type IS NOT NULL), '{}') AS types
    FROM parts GROUP BY origin, fingerprint
    ORDER BY count DESC, example DESC LIMIT $9
)
SELECT groups.*, letters.reason, letters.exception
FROM groups JOIN letters ON letters.id = groups.example
ORDER BY groups.count DESC, groups.example DESC
"""
"""$9: the number of groups, largest first."""

LIVE_LETTERS: Final = """
SELECT id, origin, stream, version, type, command_id, reason, exception, fingerprint, attempts, first_failed_at,
    last_failed_at, coalesce(greatest(seen - version, 0), 0) AS waiting, trace_id, size, status, resolved_at, resolution,
    replaces, replaced_by,
    EXISTS (SELECT FROM discards WHERE discards.letter_id = found.id AND discards.due_at IS NOT NULL) AS discarding
FROM matching($1, $2, $3, $4, $5, $6, $7, $8) AS found
WHERE live
  AND ($9::timestamptz IS NULL OR (last_failed_at, id) < ($9, $10))
ORDER BY last_failed_at DESC, id DESC LIMIT $11
"""
"""$9, $10: (last_failed_at, id) of the last letter of the previous page, or NULL and 0; $11: the limit."""

LETTERS: Final = """
SELECT id, origin, stream, version, type, command_id, reason, exception, fingerprint, attempts, first_failed_at,
    last_failed_at, coalesce(greatest(seen - version, 0), 0) AS waiting, trace_id, size, status, resolved_at, resolution,
    replaces, replaced_by,
    EXISTS (SELECT FROM discards WHERE discards.letter_id = found.id AND discards.due_at IS NOT NULL) AS discarding
FROM matching($1, $2, $3, $4, $5, $6, $7, $8) AS found
WHERE ($12::text[] IS NULL OR status = ANY ($12))
  AND ($9::timestamptz IS NULL OR (last_failed_at, id) < ($9, $10))
ORDER BY last_failed_at DESC, id DESC LIMIT $11
"""
"""Like LIVE_LETTERS, with any status, or with those in $12."""

COUNT_LIVE: Final = """
SELECT count(*) FROM matching($1, $2, $3, $4, $5, $6, $7, $8) WHERE live
"""

LETTER: Final = """
SELECT letters.id, origin, stream, version, type, command_id, reason, exception, fingerprint, attempts, first_failed_at,
    last_failed_at, coalesce(greatest(seen - version, 0), 0) AS waiting, trace_id, size, status, resolved_at, resolution,
    replaces, replaced_by, routing_key, reply_to, correlation_id, content_type, body, headers::text AS headers, trace,
    EXISTS (SELECT FROM discards WHERE discards.letter_id = letters.id AND discards.due_at IS NOT NULL) AS discarding
FROM letters JOIN payloads ON payloads.letter_id = letters.id
WHERE letters.id = $1
"""
"""One letter with its payload; ``body`` is bytes."""

FAILURES: Final = """
SELECT failed_at, attempts, reason, exception, fingerprint FROM letter_failures
WHERE letter_id = $1 ORDER BY failed_at DESC LIMIT 100
"""
EDITED: Final = """
SELECT command_id, type, actor, reason, created_at, published_at FROM resent_commands
WHERE letter_id = $1 ORDER BY created_at DESC LIMIT 100
"""

HOLDING: Final = """
SELECT id, version, status, reason, exception FROM letters
WHERE origin = $1 AND stream = $2 AND live ORDER BY version LIMIT 1
"""
"""The letter that holds a stream in a projection, if any."""

JOBS: Final = """
SELECT id, request_id, actor, reason, selection::text AS selection, rate, canary, ramp, steps_over, up_to, concurrency,
    stop_after, state, why, total,
    total - under_way - succeeded - failed - skipped AS queued, under_way, succeeded, failed, skipped, same,
    created_at, started_at, finished_at
FROM jobs WHERE id < $1 ORDER BY id DESC LIMIT $2
"""
"""$1: the last id of the previous page, or MAX_ID; $2: the limit."""

JOB: Final = """
SELECT id, request_id, actor, reason, selection::text AS selection, rate, canary, ramp, steps_over, up_to, concurrency,
    stop_after, state, why, total,
    total - under_way - succeeded - failed - skipped AS queued, under_way, succeeded, failed, skipped, same,
    created_at, started_at, finished_at
FROM jobs WHERE id = $1
"""

JOB_LETTERS: Final = """
SELECT ord, letter_id, status, outcome, sent_at FROM job_items
WHERE job_id = $1 AND ord > $2 AND ($4::text IS NULL OR status = $4) ORDER BY ord LIMIT $3
"""
"""$2: the last ``ord`` of the previous page, or 0; $3: the limit; $4: with this status only."""

HISTORY: Final = """
WITH counted AS (
    SELECT origin, fingerprint, count(*) AS count,
        floor(extract(epoch FROM current_timestamp - last_failed_at) / 3600)::integer AS hours_ago
    FROM letters
    WHERE live AND last_failed_at > current_timestamp - interval '24 hours' AND last_failed_at <= current_timestamp
      AND (origin, fingerprint) IN (SELECT * FROM unnest($1::text[], $2::text[]))
    GROUP BY origin, fingerprint, hours_ago
)
SELECT origin, fingerprint,
    (SELECT array_agg(coalesce(one.count, 0) ORDER BY hour DESC)
     FROM generate_series(0, 23) AS hour
     LEFT JOIN counted one ON (one.origin, one.fingerprint, one.hours_ago) = (cause.origin, cause.fingerprint, hour)) AS history
FROM (SELECT DISTINCT origin, fingerprint FROM counted) AS cause
"""
"""Of these causes: live letters by the hour of their latest failure, the oldest hour first; causes without any in 24 hours are left out."""

READ_ONLY: Final = "SELECT forbidden AS on, since, by_whom AS by, reason FROM operators_acts"
"""Whether operators' acts are forbidden: fits ReadOnlyView."""

NOTES: Final = """
SELECT origin, fingerprint, owner, note, bug, snoozed_until FROM group_notes
WHERE (origin, fingerprint) IN (SELECT * FROM unnest($1::text[], $2::text[]))
"""
"""What operators have said of these causes."""

QUEUE_DEPTHS: Final = "SELECT queue, messages, consumers, counted_at FROM queue_depths"
"""How many messages wait in each queue."""

AUDIT: Final = """
SELECT id, number, at, actor, act, reason, letter_id, job_id, projection, request_id, details::text AS details,
    encode(hash, 'hex') AS hash
FROM audit
WHERE id < $1 AND ($2::bigint IS NULL OR letter_id = $2) AND ($3::bigint IS NULL OR job_id = $3)
  AND ($4::text IS NULL OR actor = $4) AND ($5::text[] IS NULL OR act = ANY ($5))
  AND ($6::text[] IS NULL OR projection = ANY ($6)) AND ($7::text IS NULL OR request_id = $7)
  AND ($8::timestamptz IS NULL OR at >= $8) AND ($9::timestamptz IS NULL OR at < $9)
  AND ($10::text[] IS NULL OR act <> ALL ($10))
ORDER BY id DESC LIMIT $11
"""
"""$1: the last id of the previous page, or MAX_ID; $2 … $10: an AuditFilter's ``parameters``; $11: the limit."""

AUDIT_CHAIN: Final = """
SELECT number, previous, hash, at, actor, act, reason, letter_id, job_id, projection, request_id, details::text AS details, once
FROM audit ORDER BY number
"""
AUDIT_HEAD: Final = "SELECT number, hash FROM audit_head"


class AuditKind(StrEnum):
    """What kind of thing an entry of the audit is."""

    ACT = "act"
    """What a person or a service did; all that is none of the others."""
    DEPLOYMENT = "deployment"
    ALERT = "alert"
    EPOCH = "epoch"
    DENIAL = "denial"


_ACTS_OF: Final = {
    AuditKind.DEPLOYMENT: ["deployed"],
    AuditKind.ALERT: ["alert-firing", "alert-resolved"],
    AuditKind.EPOCH: ["begin-epoch"],
    AuditKind.DENIAL: ["denied"],
}


class AuditFilter(BaseModel):
    """The entries of the audit that meet all given criteria."""

    model_config = ConfigDict(frozen=True)

    letter_id: int | None = None
    job_id: int | None = None
    actor: str | None = None
    act: str | None = None
    kind: AuditKind | None = None
    projections: tuple[str, ...] | None = None
    """Only acts on these: projections, process managers, ``commands``."""
    request_id: str | None = None
    at_from: datetime | None = None
    at_to: datetime | None = None

    @property
    def parameters(self) -> tuple[object, ...]:
        """As $2 … $10 of AUDIT. Text with NUL, which no entry contains, matches nothing."""
        actor, act, request_id = (_without_nul(text) for text in (self.actor, self.act, self.request_id))
        projections = None if self.projections is None else [_without_nul(one) for one in self.projections]
        acts = None if self.kind is None else _ACTS_OF.get(self.kind)
        if act is not None:
            acts = [act] if acts is None or act in acts else []
        others = [name for names in _ACTS_OF.values() for name in names] if self.kind is AuditKind.ACT else None
        return self.letter_id, self.job_id, actor, acts, projections, request_id, self.at_from, self.at_to, others


Parameters = tuple[
    list[int] | None, str | None, str | None, str | None, str | None, datetime | None, datetime | None, str | None
]


def parameters(selection: Selection) -> Parameters:
    """A selection as ``$1 … $8``; an empty one selects everything. Text with NUL, which no letter contains, matches nothing."""
    ids = None if selection.letter_ids is None else [n for n in selection.letter_ids if 0 < n <= MAX_ID]
    texts = [selection.origin, selection.fingerprint, selection.stream, selection.type, selection.text]
    origin, fingerprint, stream, kind, words = map(_without_nul, texts)
    return ids, origin, fingerprint, stream, kind, selection.failed_from, selection.failed_to, words


def _without_nul(text: str | None) -> str | None:
    return None if text is None else text.replace("\x00", "\ufffd")
