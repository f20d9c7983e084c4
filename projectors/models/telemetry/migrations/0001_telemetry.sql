-- Devices, their readings, and what is derived from the readings. Values are numeric: sums are exact.
-- Everything that has a time is a function of the events and of the horizon: readings from before it are forgotten.

CREATE TABLE devices (
    device_id     text PRIMARY KEY,
    model         text NOT NULL,
    site          text,
    status        text NOT NULL,
    metrics       jsonb NOT NULL,
    -- How many were recorded, duplicates and forgotten ones included.
    readings      bigint NOT NULL,
    registered_at timestamptz NOT NULL,
    recorded_at   timestamptz,
    updated_at    timestamptz NOT NULL,
    version       bigint NOT NULL
) WITH (fillfactor = 80); -- room for the next count on the same page
CREATE INDEX devices_by_site ON devices (site, model, device_id);

-- The first reading of a device, metric and time; side: -1 below the metric's low, 1 above its high; version: of the event that has it.
CREATE TABLE readings (
    device_id text NOT NULL,
    metric    text NOT NULL,
    at        timestamptz NOT NULL,
    value     numeric NOT NULL,
    side      smallint NOT NULL,
    version   bigint NOT NULL,
    PRIMARY KEY (device_id, metric, at)
) PARTITION BY RANGE (at);

CREATE TABLE hours (
    device_id text NOT NULL,
    metric    text NOT NULL,
    start     timestamptz NOT NULL,
    count     bigint NOT NULL,
    min       numeric NOT NULL,
    max       numeric NOT NULL,
    sum       numeric NOT NULL,
    last_at   timestamptz NOT NULL,
    last      numeric NOT NULL,
    PRIMARY KEY (device_id, metric, start)
) PARTITION BY RANGE (start);

-- duplicates: further readings of the same metric and time with the same value; conflicting: with another value, which does not count.
CREATE TABLE days (
    device_id   text NOT NULL,
    metric      text NOT NULL,
    start       timestamptz NOT NULL,
    count       bigint NOT NULL,
    min         numeric NOT NULL,
    max         numeric NOT NULL,
    sum         numeric NOT NULL,
    last_at     timestamptz NOT NULL,
    last        numeric NOT NULL,
    duplicates  bigint NOT NULL DEFAULT 0,
    conflicting bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (device_id, metric, start)
) PARTITION BY RANGE (start);

-- The latest reading of each metric, the latest one within its limits (inside_at), and the latest one outside of them.
CREATE TABLE series (
    device_id     text NOT NULL,
    metric        text NOT NULL,
    last_at       timestamptz NOT NULL,
    last          numeric NOT NULL,
    inside_at     timestamptz,
    outside_at    timestamptz,
    outside       numeric,
    outside_side  smallint,
    PRIMARY KEY (device_id, metric)
) WITH (fillfactor = 80);
CREATE INDEX series_with_alerts ON series (device_id, metric) WHERE outside_at IS NOT NULL;

-- One row. Readings from before the horizon are neither kept nor expected; it only moves forward.
CREATE TABLE retention (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    horizon  timestamptz NOT NULL DEFAULT 'epoch'
);
INSERT INTO retention DEFAULT VALUES;

-- A summary of each hour's readings, to verify the readings by: a value at another time gives another moment.
CREATE VIEW readings_by_hour AS
SELECT device_id, metric, date_trunc('hour', at, 'UTC') AS start, count(*) AS count, sum(value) AS sum,
    sum(value * extract(epoch FROM at)) AS moment,
    sum(side) AS side_sum, count(*) FILTER (WHERE side <> 0) AS outside, sum(version) AS version_sum
FROM readings
GROUP BY device_id, metric, date_trunc('hour', at, 'UTC');

-- Creates the partitions of the months that begin at these times, as far as they are missing.
CREATE FUNCTION create_partitions(months timestamptz[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    month timestamptz;
    parent text;
    part text;
BEGIN
    FOREACH month IN ARRAY months LOOP
        FOREACH parent IN ARRAY ARRAY['readings', 'hours', 'days'] LOOP
            part := parent || to_char(month AT TIME ZONE 'UTC', '_YYYYMM');
            IF to_regclass(format('%I.%I', current_schema(), part)) IS NULL THEN
                -- Two writers that create the same one would fail; held until the commit.
                PERFORM pg_advisory_xact_lock(hashtextextended(current_schema() || ' partitions', 0));
                EXECUTE format(
                    'CREATE TABLE IF NOT EXISTS %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                    part, parent, month, (month AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC'
                );
            END IF;
        END LOOP;
    END LOOP;
END
$$;

-- Drops the partitions of all months before the one that begins at this time, and returns how many.
CREATE FUNCTION drop_partitions(before timestamptz) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    part text;
    dropped integer := 0;
BEGIN
    FOR part IN
        SELECT child.relname FROM pg_inherits
        JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
        JOIN pg_class AS parent ON parent.oid = pg_inherits.inhparent
        WHERE parent.relnamespace = current_schema()::regnamespace
            AND parent.relname IN ('readings', 'hours', 'days')
            AND child.relname < parent.relname || to_char(before AT TIME ZONE 'UTC', '_YYYYMM')
        ORDER BY child.relname
    LOOP
        EXECUTE format('DROP TABLE %I', part);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;
