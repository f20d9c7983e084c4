-- The processes of one process manager. One writer at a time for each process: whoever has its row locked.
CREATE TABLE processes (
    id            text PRIMARY KEY,
    number        bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    status        text NOT NULL CHECK (status IN ('awaiting-start', 'running', 'failed', 'done')),
    version       integer,                  -- of the rules that it began with; NULL: not started
    state_version integer,
    state         jsonb,
    waiting_for   text[] NOT NULL DEFAULT '{}',
    result        text,                     -- what it was finished with; NULL: unfinished
    failure       jsonb,                    -- the input that it failed on, and why: {input_id, exception, fingerprint, at}
    received      integer NOT NULL DEFAULT 0,
    decided       integer NOT NULL DEFAULT 0,
    started_at    timestamptz,
    updated_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    done_at       timestamptz
) WITH (fillfactor = 70);
CREATE INDEX processes_by_status ON processes (status, number);
CREATE INDEX processes_by_waiting ON processes USING gin (waiting_for) WITH (fastupdate = off);

-- Every input, once each. ``number``: in the order of arrival; ``decided``: in the order in which it was decided, NULL: it waits.
CREATE TABLE inputs (
    process     text NOT NULL,
    number      integer NOT NULL,
    input_id    text NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('event', 'outcome', 'timer', 'operator')),
    at          timestamptz NOT NULL,
    body        jsonb NOT NULL,
    decided     integer,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (process, number)
);
CREATE UNIQUE INDEX inputs_by_id ON inputs (process, input_id);
CREATE INDEX inputs_waiting ON inputs (process, number) WHERE decided IS NULL;

-- Timers that are set. A row is deleted in the transaction that decides the timer, cancels it, or finishes its process.
CREATE TABLE timers (
    process text NOT NULL,
    name    text NOT NULL,
    token   text NOT NULL,
    due_at  timestamptz NOT NULL,
    held    boolean NOT NULL DEFAULT false, -- its process has failed: it fires after the retry, if it is still set then
    PRIMARY KEY (process, name)
);
CREATE INDEX timers_due ON timers (due_at) WHERE NOT held;

-- Commands, first as the outbox, then as the record of what was sent and what came of it.
CREATE TABLE commands (
    seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    process    text NOT NULL,
    command_id text NOT NULL UNIQUE,
    input_id   text NOT NULL,
    key        text NOT NULL,
    type       text NOT NULL,
    subject    text NOT NULL,
    data       jsonb NOT NULL,
    actor      text NOT NULL,
    decided_at timestamptz NOT NULL,
    sent_at    timestamptz,                 -- the broker has confirmed it; NULL: it is still in the outbox
    sends      integer NOT NULL DEFAULT 0,
    resend_at  timestamptz,                 -- when to send it again; NULL: not sent yet, or it has its outcome
    pending    text,                        -- why there is no outcome yet, as the command service said
    outcome    jsonb,
    outcome_at timestamptz
);
CREATE INDEX commands_outbox ON commands (seq) WHERE sent_at IS NULL;
CREATE INDEX commands_without_outcome ON commands (resend_at) WHERE resend_at IS NOT NULL;
CREATE INDEX commands_by_process ON commands (process, seq);

-- What happened and changed nothing, counted: timers that were due but no longer set (``stale-timer``).
CREATE TABLE counters (
    name  text PRIMARY KEY,
    value bigint NOT NULL
);
