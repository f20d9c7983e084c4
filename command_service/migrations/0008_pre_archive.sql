-- Events that `tidemark archive` has moved out of the hot table: those of a stream up to some version. What reads old events reads both
-- tables through all_events; what writes events, and the outbox, knows the hot one alone.
CREATE TABLE archived_events (
    stream   text NOT NULL,
    version  bigint NOT NULL CHECK (version > 0),
    envelope json NOT NULL,
    epoch    bigint,
    PRIMARY KEY (stream, version)
);

-- Large envelopes are compressed once and read seldom. A server that was built without lz4 keeps pglz.
DO $$
BEGIN
    ALTER TABLE archived_events ALTER COLUMN envelope SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    RAISE NOTICE 'this server has no lz4';
END
$$;

-- Flattened by the planner: a range of versions, and pages in the order of (stream, version), are read by both primary keys.
CREATE VIEW all_events AS
SELECT stream, version, envelope, epoch, false AS archived FROM events
UNION ALL
SELECT stream, version, envelope, epoch, true AS archived FROM archived_events;
