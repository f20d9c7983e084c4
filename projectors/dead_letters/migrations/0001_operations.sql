-- Dead letters, the jobs that replay them, and who did what. Written by the dead-letter worker alone.
-- What lists and groups read is narrow (letters); what only one letter's page shows is beside it (payloads).

CREATE TABLE letters (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    origin          text NOT NULL,          -- a projector, or 'commands'
    identity        bytea NOT NULL,         -- SHA-256 of what makes it this letter: stream and version, or the content
    stream          text,
    version         bigint,
    type            text,
    command_id      text,
    reason          text NOT NULL,
    exception       text NOT NULL,
    fingerprint     text NOT NULL,
    attempts        integer NOT NULL,
    first_failed_at timestamptz NOT NULL,
    last_failed_at  timestamptz NOT NULL,
    seen            bigint,                 -- highest version of the stream known to wait behind it
    trace_id        text,                   -- W3C trace id, from traceparent
    routing_key     text NOT NULL,
    reply_to        text,
    correlation_id  text,
    content_type    text NOT NULL,
    size            integer NOT NULL,
    status          text NOT NULL DEFAULT 'dead'
                    CHECK (status IN ('dead', 'replaying', 'resolved', 'discarded', 'superseded')),
    resolved_at     timestamptz,
    resolution      text,                   -- applied, discarded, replayed (a command that went out again), edited
    replaces        bigint REFERENCES letters (id),
    replaced_by     text,                   -- the edited command's id
    UNIQUE (origin, identity)
);
CREATE INDEX letters_live_by_time ON letters (last_failed_at DESC, id DESC) WHERE status IN ('dead', 'replaying');
CREATE INDEX letters_live ON letters (id) WHERE status IN ('dead', 'replaying');
CREATE INDEX letters_by_time ON letters (last_failed_at DESC, id DESC);
CREATE INDEX letters_by_group ON letters (origin, fingerprint);
CREATE INDEX letters_by_stream ON letters USING hash (stream);
CREATE INDEX letters_by_replaced ON letters (replaces) WHERE replaces IS NOT NULL;
CREATE INDEX letters_by_command ON letters (command_id) WHERE command_id IS NOT NULL;

CREATE TABLE payloads (
    letter_id bigint PRIMARY KEY REFERENCES letters (id),
    body      bytea NOT NULL,
    headers   jsonb NOT NULL,
    trace     text NOT NULL
);

-- Every failure of a letter, once each however often the broker delivers it.
CREATE TABLE letter_failures (
    letter_id   bigint NOT NULL REFERENCES letters (id),
    failed_at   timestamptz NOT NULL,
    attempts    integer NOT NULL,
    reason      text NOT NULL,
    exception   text NOT NULL,
    fingerprint text NOT NULL,
    PRIMARY KEY (letter_id, failed_at)
);

-- Letters as they come in, many to a statement.
CREATE TYPE incoming AS (
    origin text, identity bytea, stream text, version bigint, type text, command_id text, reason text, exception text,
    fingerprint text, attempts integer, first_failed_at timestamptz, failed_at timestamptz, seen bigint, trace_id text,
    routing_key text, reply_to text, correlation_id text, content_type text, body bytea, headers text, trace text
);

-- Selections mean the same to everybody who lists, groups, replays or discards. NULL: whatever it is. Case is ignored in ASCII
-- words only: folding all of Unicode would take longer than all the rest.
CREATE FUNCTION matching(
    ids bigint[], an_origin text, a_fingerprint text, a_stream text, a_type text,
    failed_from timestamptz, failed_to timestamptz, words text
) RETURNS SETOF letters LANGUAGE sql STABLE AS $$
    SELECT * FROM letters
    WHERE (ids IS NULL OR id = ANY (ids))
      AND (an_origin IS NULL OR origin = an_origin)
      AND (a_fingerprint IS NULL OR fingerprint = a_fingerprint)
      AND (a_stream IS NULL OR stream = a_stream)
      AND (a_type IS NULL OR type = a_type)
      AND (failed_from IS NULL OR last_failed_at >= failed_from)
      AND (failed_to IS NULL OR last_failed_at < failed_to)
      AND (words IS NULL OR strpos(lower(exception COLLATE "C"), lower(words COLLATE "C")) > 0
           OR strpos(lower(reason COLLATE "C"), lower(words COLLATE "C")) > 0)
$$;

-- What was asked for and accepted, with what was answered: asking again changes nothing and gets the same answer.
CREATE TABLE requests (
    request_id text PRIMARY KEY,
    verb       text NOT NULL,
    digest     bytea NOT NULL,
    answer     jsonb NOT NULL,
    at         timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE jobs (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id  text NOT NULL UNIQUE,
    actor       text NOT NULL,
    reason      text NOT NULL,
    selection   jsonb NOT NULL,
    rate        double precision,
    canary      integer NOT NULL,
    concurrency integer NOT NULL,
    stop_after  integer,
    state       text NOT NULL DEFAULT 'pending'
                CHECK (state IN ('pending', 'canary', 'running', 'paused', 'stopped', 'completed', 'cancelled')),
    why         text NOT NULL DEFAULT '',   -- of the state, in words
    canary_over boolean NOT NULL DEFAULT false,
    total       integer NOT NULL DEFAULT 0,
    under_way   integer NOT NULL DEFAULT 0,
    succeeded   integer NOT NULL DEFAULT 0,
    failed      integer NOT NULL DEFAULT 0,
    skipped     integer NOT NULL DEFAULT 0,
    same        integer NOT NULL DEFAULT 0, -- failed with the fingerprint they had before
    forgiven    integer NOT NULL DEFAULT 0, -- of those, before an operator said to go on
    created_at  timestamptz NOT NULL DEFAULT now(),
    started_at  timestamptz,
    finished_at timestamptz,
    republished_at timestamptz              -- last time that commands went out: their failures may still be on the way
);
CREATE INDEX jobs_open ON jobs (id) WHERE state IN ('pending', 'canary', 'running', 'paused');

-- A job's selection, frozen: nothing joins it later.
CREATE TABLE job_items (
    job_id      bigint NOT NULL REFERENCES jobs (id),
    ord         integer NOT NULL,
    letter_id   bigint NOT NULL REFERENCES letters (id),
    status      text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'sent', 'succeeded', 'failed', 'skipped')),
    fingerprint text NOT NULL,              -- the letter's, before it was sent
    sent_at     timestamptz,
    asked_at    timestamptz,
    asks        integer NOT NULL DEFAULT 0,
    outcome     text,
    PRIMARY KEY (job_id, ord)
);
CREATE INDEX job_items_by_letter ON job_items (letter_id);
CREATE INDEX job_items_queued ON job_items (job_id, ord) WHERE status = 'queued';
CREATE INDEX job_items_sent ON job_items (asked_at) WHERE status = 'sent';

-- Orders to step over events, until their projections say that they have.
CREATE TABLE discards (
    letter_id  bigint PRIMARY KEY REFERENCES letters (id),
    request_id text NOT NULL,
    actor      text NOT NULL,
    reason     text NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    due_at     timestamptz DEFAULT now(),   -- when to give the order (again); NULL: done
    asks       integer NOT NULL DEFAULT 0
);
CREATE INDEX discards_due ON discards (due_at) WHERE due_at IS NOT NULL;

-- Commands sent instead of dead ones: the other half of the lineage.
CREATE TABLE resent_commands (
    command_id     text PRIMARY KEY,
    letter_id      bigint NOT NULL REFERENCES letters (id),
    request_id     text NOT NULL,
    type           text NOT NULL,
    body           bytea NOT NULL,
    reply_to       text,
    correlation_id text,
    actor          text NOT NULL,
    reason         text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    published_at   timestamptz
);
CREATE INDEX resent_commands_waiting ON resent_commands (created_at) WHERE published_at IS NULL;
CREATE INDEX resent_commands_by_letter ON resent_commands (letter_id);

-- Who did what, when and why: for ever. Rows are added, and nothing else ever happens to them.
CREATE TABLE audit (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    actor      text NOT NULL,
    act        text NOT NULL,
    reason     text NOT NULL,
    letter_id  bigint REFERENCES letters (id),
    job_id     bigint REFERENCES jobs (id),
    request_id text,
    details    jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_by_letter ON audit (letter_id) WHERE letter_id IS NOT NULL;
CREATE INDEX audit_by_job ON audit (job_id) WHERE job_id IS NOT NULL;

CREATE FUNCTION audit_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit is append-only: % refused', TG_OP;
END
$$;
CREATE TRIGGER audit_rows_stay BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_stays();
CREATE TRIGGER audit_table_stays BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_stays();
