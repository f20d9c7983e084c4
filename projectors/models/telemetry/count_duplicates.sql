-- Counts the readings that RECORD_READINGS has not recorded, because there was one of their device, metric and time: on their days.
-- $1 device, $2 metric, $3 time, $4 value of each reading; $5: the version that its stream was at; $6: the horizon.
-- One that was recorded just now has a later version than that, and is not a duplicate of itself.
WITH arrived AS MATERIALIZED (
    SELECT device_id, metric, at, value::numeric AS value, known_version
    FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::bigint[])
        AS given (device_id, metric, at, value, known_version)
    WHERE at >= $6
), further AS (
    SELECT arrived.device_id, arrived.metric, arrived.at, date_trunc('day', arrived.at, 'UTC') AS start,
        count(*) FILTER (WHERE arrived.value = kept.value) - bool_or(kept.version > arrived.known_version)::int AS duplicates,
        count(*) FILTER (WHERE arrived.value <> kept.value) AS conflicting
    FROM arrived
    CROSS JOIN LATERAL (
        SELECT value, version FROM readings
        WHERE device_id = arrived.device_id AND metric = arrived.metric AND at = arrived.at LIMIT 1
    ) AS kept
    GROUP BY arrived.device_id, arrived.metric, arrived.at
), by_day AS (
    SELECT device_id, metric, start, sum(duplicates)::bigint AS duplicates, sum(conflicting)::bigint AS conflicting
    FROM further GROUP BY device_id, metric, start
)
UPDATE days SET duplicates = days.duplicates + by_day.duplicates, conflicting = days.conflicting + by_day.conflicting
FROM by_day
WHERE days.device_id = by_day.device_id AND days.metric = by_day.metric AND days.start = by_day.start
    AND by_day.duplicates + by_day.conflicting > 0
