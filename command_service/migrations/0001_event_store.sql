-- The write model. events is the truth; streams keeps each stream's current state beside it, commands the outcome of each
-- command ever handled, claims what must be unique across streams, outbox what the relay has still to hand on.

CREATE TABLE streams (
    stream     text PRIMARY KEY,
    kind       text NOT NULL,
    version    bigint NOT NULL CHECK (version > 0),
    state      json NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE events (
    stream   text NOT NULL,
    version  bigint NOT NULL CHECK (version > 0),
    envelope json NOT NULL,
    PRIMARY KEY (stream, version)
);

CREATE TABLE commands (
    command_id   text PRIMARY KEY,
    command_type text NOT NULL,
    body_hash    bytea NOT NULL,
    outcome      json NOT NULL,
    decided_at   timestamptz NOT NULL
);

CREATE TABLE claims (
    scope  text NOT NULL,
    value  text NOT NULL,
    stream text NOT NULL,
    PRIMARY KEY (scope, value)
);

-- Rows live for milliseconds: vacuum often, so that reading the head stays cheap.
CREATE TABLE outbox (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream   text NOT NULL,
    -- CRC-32 of the stream: its lane is the remainder by the number of lanes, which may change while rows wait.
    hash     bigint NOT NULL,
    type     text NOT NULL,
    envelope text NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
