-- What some processes' inputs have led to, in one statement, which costs a round trip and not seven. No row is written twice by it: a timer
-- that is set again is not among those that are deleted.
WITH stored AS (
    UPDATE processes SET
        status = new.status, version = new.version, state_version = new.state_version, state = new.state::json,
        waiting_for = string_to_array(new.waiting_for, E'\x1f'), result = new.result, failure = new.failure::json,
        received = new.received, decided = new.decided, started_at = new.started_at, done_at = new.done_at, updated_at = $13,
        pruned_at = NULL
    FROM unnest($1::text[], $2::text[], $3::integer[], $4::integer[], $5::text[], $6::text[], $7::text[], $8::text[],
                $9::integer[], $10::integer[], $11::timestamptz[], $12::timestamptz[])
        AS new (id, status, version, state_version, state, waiting_for, result, failure, received, decided, started_at, done_at)
    WHERE processes.id = new.id
), recorded AS (
    INSERT INTO inputs (process, number, input_id, kind, at, body, decided, received_at)
    SELECT process, number, input_id, kind, at, body::json, decided, $13
    FROM unnest($14::text[], $15::integer[], $16::text[], $17::text[], $18::timestamptz[], $19::text[], $20::integer[])
        AS new (process, number, input_id, kind, at, body, decided)
), deleted AS (
    DELETE FROM timers USING unnest($21::text[], $22::text[]) AS gone (process, name)
    WHERE timers.process = gone.process AND timers.name = gone.name
), set_anew AS (
    INSERT INTO timers (process, name, token, due_at)
    SELECT * FROM unnest($23::text[], $24::text[], $25::text[], $26::timestamptz[])
    ON CONFLICT (process, name) DO UPDATE SET token = excluded.token, due_at = excluded.due_at, held = false
), queued AS (
    INSERT INTO commands (process, command_id, input_id, key, type, subject, data, actor, traceparent, decided_at)
    SELECT process, command_id, input_id, key, type, subject, data::json, actor, traceparent, $13
    FROM unnest($27::text[], $28::text[], $29::text[], $30::text[], $31::text[], $32::text[], $33::text[], $34::text[], $35::text[])
        WITH ORDINALITY AS new (process, command_id, input_id, key, type, subject, data, actor, traceparent, place)
    ORDER BY place
)
SELECT pg_notify($36, current_schema()) WHERE cardinality($27::text[]) > 0
