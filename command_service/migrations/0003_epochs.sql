-- Epochs of the write database. A new one begins when the database is restored, promoted or copied, as it may have lost commits.
CREATE TABLE epochs (
    number            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    epoch             text NOT NULL UNIQUE,
    begun_at          timestamptz NOT NULL DEFAULT now(),
    reason            text NOT NULL,
    -- The identity of its database: the cluster, its timeline, the database, and this table in it.
    system_identifier bigint NOT NULL,
    timeline          bigint NOT NULL,
    database_oid      oid NOT NULL,
    table_oid         oid NOT NULL
);

-- The epoch in which an event was written; NULL: before there were epochs.
ALTER TABLE events ADD COLUMN epoch bigint;
