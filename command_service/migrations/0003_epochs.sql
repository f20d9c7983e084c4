-- Epochs of the write database. A database that is restored, promoted or copied may know less than it did: then a new one begins.
CREATE TABLE epochs (
    number            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    epoch             text NOT NULL UNIQUE,
    begun_at          timestamptz NOT NULL DEFAULT now(),
    reason            text NOT NULL,
    -- Which database it belongs to: the cluster, its timeline, the database, and this table in it.
    system_identifier bigint NOT NULL,
    timeline          bigint NOT NULL,
    database_oid      oid NOT NULL,
    table_oid         oid NOT NULL
);

-- In which epoch an event was written; NULL: before there were epochs.
ALTER TABLE events ADD COLUMN epoch bigint;
