-- Which generations of the projection there are, and which of them is read; see shared/views/generations.py.

CREATE TABLE generations (
    number         integer PRIMARY KEY CHECK (number > 0),
    state          text NOT NULL CHECK (state IN ('building', 'ready')),
    active         boolean NOT NULL DEFAULT false,
    begun_at       timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    ready_at       timestamptz,
    activated_at   timestamptz,
    begun_by       text,
    activated_by   text,
    cursor_stream  text NOT NULL DEFAULT '',
    cursor_version bigint NOT NULL DEFAULT 0,
    scanned        bigint NOT NULL DEFAULT 0,
    total          bigint,
    done           boolean NOT NULL DEFAULT false,
    reads_since    timestamptz,
    settled        integer[] NOT NULL DEFAULT '{}',
    rate           double precision,
    epoch          text
);
CREATE UNIQUE INDEX one_generation_is_active ON generations (active) WHERE active;

INSERT INTO generations (number, state, active, ready_at, activated_at) VALUES (1, 'ready', true, now(), now());
