-- New letters, each with its payload and its first failure. $1: incoming[]
WITH new AS MATERIALIZED (
    SELECT * FROM unnest($1::incoming[])
), inserted AS (
    INSERT INTO letters (
        origin, identity, stream, version, type, command_id, reason, exception, fingerprint, attempts, first_failed_at,
        last_failed_at, seen, trace_id, routing_key, reply_to, correlation_id, content_type, size, replaces
    )
    SELECT origin, identity, stream, version, type, command_id, reason, exception, fingerprint, attempts, first_failed_at,
        failed_at, seen, trace_id, routing_key, reply_to, correlation_id, content_type, length(body),
        (SELECT letter_id FROM resent_commands WHERE resent_commands.command_id = new.command_id LIMIT 1)
    FROM new
    ORDER BY failed_at, identity
    RETURNING id, origin, identity
), kept AS (
    INSERT INTO payloads (letter_id, body, headers, trace)
    SELECT inserted.id, new.body, new.headers::jsonb, new.trace
    FROM inserted JOIN new ON new.origin = inserted.origin AND new.identity = inserted.identity
)
INSERT INTO letter_failures (letter_id, failed_at, attempts, reason, exception, fingerprint)
SELECT inserted.id, new.failed_at, new.attempts, new.reason, new.exception, new.fingerprint
FROM inserted JOIN new ON new.origin = inserted.origin AND new.identity = inserted.identity
RETURNING letter_id
