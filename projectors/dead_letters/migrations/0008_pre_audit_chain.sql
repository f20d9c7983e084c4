-- The audit as a chain: each row has its number, 1, 2, 3 … without gaps, and a SHA-256 over the hash of the row before it and its own
-- content, so that no row can be changed, removed or put in between without every later hash being wrong. Rows are added by record_audit
-- alone: it takes the chain's head, a row lock that the next transaction waits for, so that insertion order is the order of the chain.
--
--     hash(n) = SHA-256( hash(n - 1) || content(n) ),  hash(0) = 32 zero bytes
--     content(n): UTF-8 of the JSON text [number, at in microseconds since 1970, actor, act, reason, letter_id, job_id, projection,
--                 request_id, details, once], as PostgreSQL writes jsonb
--
-- What is cut off by retention (prune_audit) leaves a row of its own in the chain with the number and the hash of the last row that went.

ALTER TABLE audit ADD COLUMN number bigint, ADD COLUMN previous bytea, ADD COLUMN hash bytea, ADD COLUMN once text;
-- ``once``: a report that may come twice is recorded once under it.

CREATE TABLE audit_head (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    number      bigint NOT NULL,            -- of the last row
    hash        bytea NOT NULL,
    pruned      bigint NOT NULL DEFAULT 0,  -- number and hash of the last row that retention has cut off
    pruned_hash bytea NOT NULL
);

CREATE FUNCTION audit_content(
    number bigint, at timestamptz, actor text, act text, reason text, letter_id bigint, job_id bigint, projection text,
    request_id text, details jsonb, once text
) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT convert_to(jsonb_build_array(
        number, (extract(epoch FROM at) * 1000000)::bigint, actor, act, reason, letter_id, job_id, projection, request_id,
        details, once)::text, 'UTF8')
$$;

CREATE FUNCTION audit_link(so_far bytea, before bytea, content bytea) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN sha256(coalesce(so_far, before) || content);
END
$$;
-- As a window function it chains many rows in one statement; ``before``: the hash of the row before the first of them.
CREATE AGGREGATE audit_chain(before bytea, content bytea) (SFUNC = audit_link, STYPE = bytea);

-- What was recorded before there was a chain, in the order of its ids.
ALTER TABLE audit DISABLE TRIGGER audit_rows_stay;
UPDATE audit SET once = projection || '/' || act || '/' || (details ->> 'asked_at') || '/' || request_id
WHERE projection IS NOT NULL AND request_id IS NOT NULL AND details ? 'asked_at';
WITH numbered AS (
    SELECT *, row_number() OVER (ORDER BY id) AS place FROM audit
), hashed AS (
    SELECT id, place, audit_chain(
        decode(repeat('00', 32), 'hex'),
        audit_content(place, at, actor, act, reason, letter_id, job_id, projection, request_id, details, once)
    ) OVER (ORDER BY place ROWS UNBOUNDED PRECEDING) AS hash
    FROM numbered
), chained AS (
    SELECT *, lag(hash, 1, decode(repeat('00', 32), 'hex')) OVER (ORDER BY place) AS previous FROM hashed
)
UPDATE audit SET number = chained.place, previous = chained.previous, hash = chained.hash
FROM chained WHERE chained.id = audit.id;
ALTER TABLE audit ENABLE TRIGGER audit_rows_stay;

INSERT INTO audit_head (number, hash, pruned_hash)
SELECT coalesce(max(number), 0),
    coalesce((SELECT hash FROM audit ORDER BY number DESC LIMIT 1), decode(repeat('00', 32), 'hex')),
    decode(repeat('00', 32), 'hex')
FROM audit;

ALTER TABLE audit
    ALTER COLUMN number SET NOT NULL, ALTER COLUMN previous SET NOT NULL, ALTER COLUMN hash SET NOT NULL,
    ADD CONSTRAINT audit_numbers UNIQUE (number);
CREATE UNIQUE INDEX audit_once ON audit (once) WHERE once IS NOT NULL;
DROP INDEX audit_by_projection;
CREATE INDEX audit_by_projection ON audit (projection, id) WHERE projection IS NOT NULL;

-- Rows of others go by their own retention; the audit keeps their numbers.
ALTER TABLE audit DROP CONSTRAINT audit_letter_id_fkey, DROP CONSTRAINT audit_job_id_fkey;

CREATE TYPE audit_entry AS (
    at timestamptz, actor text, act text, reason text, letter_id bigint, job_id bigint, projection text, request_id text,
    details jsonb, once text
);

-- The one way into the audit, also for roles that may not write to it. The caller's transaction holds the head until it ends. Entries
-- whose ``once`` is there already are left out; no two of one call may have the same. Returns the number of rows added.
CREATE FUNCTION record_audit(entries audit_entry[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = operations, pg_temp AS $$
DECLARE
    head  audit_head;
    added bigint;
BEGIN
    SELECT * INTO STRICT head FROM audit_head FOR UPDATE;
    WITH new AS (
        SELECT entry.*, head.number + row_number() OVER (ORDER BY entry.ordinality) AS number
        FROM unnest(entries) WITH ORDINALITY AS entry
        WHERE entry.once IS NULL OR NOT EXISTS (SELECT FROM audit WHERE audit.once = entry.once)
    ), hashed AS (
        SELECT *, audit_chain(
            head.hash, audit_content(number, at, actor, act, reason, letter_id, job_id, projection, request_id, details, once)
        ) OVER (ORDER BY number ROWS UNBOUNDED PRECEDING) AS hash
        FROM new
    )
    INSERT INTO audit (
        number, previous, hash, at, actor, act, reason, letter_id, job_id, projection, request_id, details, once
    )
    SELECT number, lag(hash, 1, head.hash) OVER (ORDER BY number), hash, at, actor, act, reason, letter_id, job_id,
        projection, request_id, details, once
    FROM hashed ORDER BY number;
    GET DIAGNOSTICS added = ROW_COUNT;
    UPDATE audit_head SET number = audit.number, hash = audit.hash
    FROM audit WHERE audit.number = head.number + added AND added > 0;
    RETURN added;
END
$$;

-- A row that is inserted directly, as by a worker of the previous version, is chained too, for itself.
CREATE FUNCTION audit_chains() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = operations, pg_temp AS $$
BEGIN
    SELECT number + 1, hash INTO STRICT NEW.number, NEW.previous FROM audit_head FOR UPDATE;
    NEW.hash := sha256(NEW.previous || audit_content(
        NEW.number, NEW.at, NEW.actor, NEW.act, NEW.reason, NEW.letter_id, NEW.job_id, NEW.projection, NEW.request_id,
        NEW.details, NEW.once));
    UPDATE audit_head SET number = NEW.number, hash = NEW.hash;
    RETURN NEW;
END
$$;
CREATE TRIGGER audit_rows_chain BEFORE INSERT ON audit FOR EACH ROW WHEN (NEW.number IS NULL)
    EXECUTE FUNCTION audit_chains();

-- Rows go only from the chain's beginning, after a row in the chain says up to which.
CREATE OR REPLACE FUNCTION audit_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.number <= (SELECT pruned FROM operations.audit_head) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit is append-only: % refused', TG_OP;
END
$$;

-- Cut off the oldest rows, at most ``most``, that are from before ``cutoff``, and at least 30 days old whatever it is: who may call this
-- cannot remove the traces of what it has just done. Returns their number.
CREATE FUNCTION prune_audit(cutoff timestamptz, most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = operations, pg_temp AS $$
DECLARE
    head    audit_head;
    last    record;
    removed bigint;
BEGIN
    SELECT * INTO STRICT head FROM audit_head FOR UPDATE;
    SELECT oldest.number, oldest.hash INTO last FROM (
        SELECT audit.number, audit.hash, bool_and(audit.at < least(cutoff, now() - interval '30 days')) OVER (ORDER BY audit.number) AS old
        FROM audit ORDER BY audit.number LIMIT most
    ) AS oldest WHERE old ORDER BY oldest.number DESC LIMIT 1;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    removed := last.number - head.pruned;
    PERFORM record_audit(ARRAY[ROW(
        now(), 'tidemark', 'prune-audit', 'retention', NULL, NULL, NULL, NULL,
        jsonb_build_object('through', last.number, 'hash', encode(last.hash, 'hex'), 'removed', removed), NULL
    )::audit_entry]);
    UPDATE audit_head SET pruned = last.number, pruned_hash = last.hash;
    DELETE FROM audit WHERE number <= last.number;
    RETURN removed;
END
$$;
REVOKE EXECUTE ON FUNCTION record_audit(audit_entry[]), prune_audit(timestamptz, integer) FROM PUBLIC;
