-- Writes readings, given in stream order, and adds those that are new to the hours, days and series. Returns how many are new.
-- $1 device, $2 metric, $3 time, $4 value, $5 side, $6 version of each reading; $7: the horizon. The first of a device, metric and time counts.
WITH arrived AS MATERIALIZED (
    SELECT device_id, metric, at, value::numeric AS value, side, version, place
    FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::smallint[], $6::bigint[])
        WITH ORDINALITY AS given (device_id, metric, at, value, side, version, place)
    WHERE at >= $7
), recorded AS (
    INSERT INTO readings (device_id, metric, at, value, side, version)
    SELECT device_id, metric, at, value, side, version FROM arrived ORDER BY place
    ON CONFLICT (device_id, metric, at) DO NOTHING
    RETURNING device_id, metric, at, value, side
), by_hour AS MATERIALIZED (
    SELECT device_id, metric, date_trunc('hour', at, 'UTC') AS start, count(*) AS count, min(value) AS min, max(value) AS max,
        sum(value) AS sum, max(at) AS last_at, (array_agg(value ORDER BY at DESC))[1] AS last,
        max(at) FILTER (WHERE side = 0) AS inside_at, max(at) FILTER (WHERE side <> 0) AS outside_at,
        (array_agg(value ORDER BY at DESC) FILTER (WHERE side <> 0))[1] AS outside,
        (array_agg(side ORDER BY at DESC) FILTER (WHERE side <> 0))[1] AS outside_side
    FROM recorded
    GROUP BY device_id, metric, date_trunc('hour', at, 'UTC')
), hourly AS (
    INSERT INTO hours (device_id, metric, start, count, min, max, sum, last_at, last)
    SELECT device_id, metric, start, count, min, max, sum, last_at, last FROM by_hour
    ON CONFLICT (device_id, metric, start) DO UPDATE SET
        count = hours.count + excluded.count,
        min = least(hours.min, excluded.min),
        max = greatest(hours.max, excluded.max),
        sum = hours.sum + excluded.sum,
        last_at = greatest(hours.last_at, excluded.last_at),
        last = CASE WHEN excluded.last_at > hours.last_at THEN excluded.last ELSE hours.last END
), daily AS (
    INSERT INTO days (device_id, metric, start, count, min, max, sum, last_at, last)
    SELECT device_id, metric, date_trunc('day', start, 'UTC'), sum(count)::bigint, min(min), max(max), sum(sum), max(last_at),
        (array_agg(last ORDER BY last_at DESC))[1]
    FROM by_hour
    GROUP BY device_id, metric, date_trunc('day', start, 'UTC')
    ON CONFLICT (device_id, metric, start) DO UPDATE SET
        count = days.count + excluded.count,
        min = least(days.min, excluded.min),
        max = greatest(days.max, excluded.max),
        sum = days.sum + excluded.sum,
        last_at = greatest(days.last_at, excluded.last_at),
        last = CASE WHEN excluded.last_at > days.last_at THEN excluded.last ELSE days.last END
), latest AS (
    INSERT INTO series (device_id, metric, last_at, last, inside_at, outside_at, outside, outside_side)
    SELECT device_id, metric, max(last_at), (array_agg(last ORDER BY last_at DESC))[1], max(inside_at), max(outside_at),
        (array_agg(outside ORDER BY outside_at DESC) FILTER (WHERE outside_at IS NOT NULL))[1],
        (array_agg(outside_side ORDER BY outside_at DESC) FILTER (WHERE outside_at IS NOT NULL))[1]
    FROM by_hour
    GROUP BY device_id, metric
    ON CONFLICT (device_id, metric) DO UPDATE SET
        last_at = greatest(series.last_at, excluded.last_at),
        last = CASE WHEN excluded.last_at > series.last_at THEN excluded.last ELSE series.last END,
        inside_at = greatest(series.inside_at, excluded.inside_at),
        outside_at = greatest(series.outside_at, excluded.outside_at),
        outside = CASE
            WHEN series.outside_at IS NULL OR excluded.outside_at > series.outside_at THEN excluded.outside ELSE series.outside
        END,
        outside_side = CASE
            WHEN series.outside_at IS NULL OR excluded.outside_at > series.outside_at THEN excluded.outside_side
            ELSE series.outside_side
        END
)
SELECT (SELECT count(*) FROM arrived) AS arrived, (SELECT count(*) FROM recorded) AS recorded
