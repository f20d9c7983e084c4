-- Letters that have failed again: they become live, regardless of their status, and record one more attempt. $1: incoming[]
WITH again AS MATERIALIZED (
    SELECT * FROM unnest($1::incoming[])
), changed AS (
    UPDATE letters SET
        attempts = greatest(letters.attempts + 1, again.attempts),
        first_failed_at = least(letters.first_failed_at, again.first_failed_at),
        last_failed_at = greatest(letters.last_failed_at, again.failed_at),
        type = coalesce(again.type, letters.type),
        reason = again.reason,
        exception = again.exception,
        fingerprint = again.fingerprint,
        seen = greatest(letters.seen, again.seen),
        routing_key = again.routing_key,
        reply_to = coalesce(again.reply_to, letters.reply_to),
        correlation_id = coalesce(again.correlation_id, letters.correlation_id),
        content_type = again.content_type,
        size = length(again.body),
        status = 'dead',
        resolved_at = NULL,
        resolution = NULL
    FROM again
    WHERE letters.origin = again.origin AND letters.identity = again.identity
    RETURNING letters.id, letters.attempts AS attempts_now, again.*
), kept AS (
    UPDATE payloads SET body = changed.body, headers = changed.headers::jsonb, trace = changed.trace
    FROM changed WHERE payloads.letter_id = changed.id
)
INSERT INTO letter_failures (letter_id, failed_at, attempts, reason, exception, fingerprint)
SELECT id, failed_at, attempts_now, reason, exception, fingerprint FROM changed
ON CONFLICT DO NOTHING
RETURNING letter_id
