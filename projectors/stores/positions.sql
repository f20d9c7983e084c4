-- How far a projection has come, per stream; every PostgreSQL read store has these tables beside its data.

CREATE TABLE positions (
    stream  text PRIMARY KEY,
    applied bigint NOT NULL CHECK (applied > 0)
) WITH (fillfactor = 80); -- room for the next version on the same page: then the index is not written again

-- Streams that do not advance, and why. A stream whose first event fails is here without being in positions.
CREATE TABLE held (
    stream          text PRIMARY KEY,
    status          text NOT NULL CHECK (status IN ('gap', 'retrying', 'dead')),
    version         bigint NOT NULL,
    seen            bigint NOT NULL,
    attempts        integer NOT NULL,
    reason          text NOT NULL,
    exception       text NOT NULL,
    fingerprint     text NOT NULL,
    first_failed_at timestamptz NOT NULL,
    last_failed_at  timestamptz NOT NULL,
    due_at          timestamptz
);
CREATE INDEX held_due ON held (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE progress (
    lane           integer PRIMARY KEY,
    as_of          timestamptz,
    events_applied bigint NOT NULL,
    updated_at     timestamptz NOT NULL
);
