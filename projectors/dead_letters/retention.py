"""What the operations database keeps, and for how long. Live letters, open jobs and requests under way are never touched."""

from collections.abc import Sequence
from typing import Final

from shared.runtime.retention import Pruner, RetentionOptions, Rule
from shared.views.operations import SCHEMA

AUDIT_BATCH: Final = 10_000
"""Each batch leaves a row in the audit."""

# Letters with all that belongs to them; not while a job, a discard, an edited command or the command service still needs one.
LETTERS: Final = """
WITH old AS MATERIALIZED (
    SELECT id FROM letters l
    WHERE NOT live AND resolved_at < now() - $1::interval
      AND NOT EXISTS (SELECT FROM job_items i WHERE i.letter_id = l.id AND i.status IN ('queued', 'sent'))
      AND NOT EXISTS (SELECT FROM discards d WHERE d.letter_id = l.id AND d.due_at IS NOT NULL)
      AND NOT EXISTS (SELECT FROM marks m WHERE m.letter_id = l.id)
      AND NOT EXISTS (SELECT FROM resent_commands r WHERE r.letter_id = l.id AND r.published_at IS NULL)
    ORDER BY resolved_at LIMIT $2 FOR UPDATE SKIP LOCKED
), bodies AS (
    DELETE FROM payloads USING old WHERE payloads.letter_id = old.id
), failures AS (
    DELETE FROM letter_failures USING old WHERE letter_failures.letter_id = old.id
), discarded AS (
    DELETE FROM discards USING old WHERE discards.letter_id = old.id
), edited AS (
    DELETE FROM resent_commands USING old WHERE resent_commands.letter_id = old.id
), gone AS (
    DELETE FROM letters USING old WHERE letters.id = old.id RETURNING 1
) SELECT count(*) FROM gone
"""
FAILURES: Final = """
WITH gone AS (
    DELETE FROM letter_failures WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM letter_failures f WHERE failed_at < now() - $1::interval AND EXISTS (
            SELECT FROM letter_failures later WHERE later.letter_id = f.letter_id AND later.failed_at > f.failed_at
        ) LIMIT $2
    )) RETURNING 1
) SELECT count(*) FROM gone
"""
JOB_ITEMS: Final = """
WITH gone AS (
    DELETE FROM job_items WHERE ctid = ANY (ARRAY(
        SELECT i.ctid FROM jobs j JOIN job_items i ON i.job_id = j.id
        WHERE j.state IN ('completed', 'cancelled') AND j.finished_at < now() - $1::interval LIMIT $2
    )) RETURNING 1
) SELECT count(*) FROM gone
"""
REQUESTS: Final = """
WITH gone AS (
    DELETE FROM requests WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM requests r WHERE at < now() - $1::interval AND NOT EXISTS (
            SELECT FROM jobs j WHERE j.request_id = r.request_id
        ) LIMIT $2
    )) RETURNING 1
) SELECT count(*) FROM gone
"""
CHECKS: Final = """
WITH gone AS (
    DELETE FROM checks WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM checks WHERE state IN ('finished', 'failed', 'cancelled') AND finished_at < now() - $1::interval
        LIMIT $2
    )) RETURNING 1
) SELECT count(*) FROM gone
"""
# Whole days, so that a day costs one row of its own.
AUDIT: Final = "SELECT operations.prune_audit(date_trunc('day', now() - $1::interval, 'UTC'), $2::integer)"


def rules(options: RetentionOptions) -> Sequence[Rule]:
    return (
        Rule("letters of finished jobs", options.jobs_retention_days, JOB_ITEMS),
        Rule("closed dead letters", options.letters_retention_days, LETTERS),
        Rule("failures of dead letters", options.failures_retention_days, FAILURES),
        Rule("answers to operators' requests", options.jobs_retention_days, REQUESTS),
        Rule("verifications and comparisons", options.jobs_retention_days, CHECKS),
        Rule("rows of the audit", options.audit_retention_days, AUDIT, AUDIT_BATCH),
    )


def pruner(operations_db_url: str, options: RetentionOptions | None = None) -> Pruner:
    options = options or RetentionOptions()
    return Pruner(operations_db_url, rules(options), schema=SCHEMA, every_s=options.retention_every_s)
