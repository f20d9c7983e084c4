-- One table is all of the read model: facts of orders, and beside them positions, holds, what is discarded, and progress. ClickHouse has no
-- transactions, but one INSERT of one block into one table without partitions makes one part: all of its rows are there, or none.
--
-- A row is a function of its key (kind, stream, version, place), so writing it twice changes nothing; of holds, which are the exception,
-- the latest counts (at). Merges keep one row of each key, and every read says FINAL, so that it does not matter which have taken place.
CREATE TABLE IF NOT EXISTS journal (
    kind        LowCardinality(String),  -- order, line, name; moved, hold, discarded, progress
    stream      String,
    version     UInt64,                  -- the event's; of a position the applied one; of progress the commit's number
    place       UInt32,                  -- of a line in its order; of progress the lane
    at          UInt64,                  -- number of the commit: later commits have greater ones
    sign        Int8,                    -- 1: placed, -1: cancelled
    currency    LowCardinality(String),
    placed_at   DateTime64(6, 'UTC'),
    customer_id String,
    product_id  String,
    name        String,
    value       LowCardinality(String),  -- of an order its region, of a line its category
    items       Int64,
    revenue     Int64,                   -- minor units
    hold        String,                  -- JSON; empty: there is none
    due_at      Nullable(DateTime64(6, 'UTC')),
    as_of       Nullable(DateTime64(6, 'UTC'))
) ENGINE = ReplacingMergeTree(at) ORDER BY (kind, stream, version, place)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
