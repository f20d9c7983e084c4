-- Builds the statements that compare a table of one schema with that of another; names are parameters, and are quoted here.
-- $1, $2: the schemas; $3: the table; $4: columns that both have; $5: its primary key.
-- $6, $7: the stream of a row: $6 || '/' || column $7, or, if $6 is null, column $7 itself; unknown if $7 is null.
-- $8: those of the columns that are json in one schema or the other: they are compared as jsonb.
--
-- Each of the statements takes $1: names of streams, $2: whether it reads the rows of these streams, or all others.
WITH parts AS (
    SELECT
        (
            SELECT string_agg(format(CASE WHEN name = ANY ($8::text[]) THEN 'r.%I::jsonb' ELSE 'r.%I' END, name), ', ')
            FROM unnest($4::text[]) AS name
        ) AS columns,
        (SELECT string_agg(format('r.%1$I::text AS %1$I', name), ', ') FROM unnest($5::text[]) AS name) AS keys,
        (SELECT string_agg(format('%I', name), ', ') FROM unnest($5::text[]) AS name) AS key,
        (SELECT string_agg(format('a.%1$I::text = apart.%1$I', name), ' AND ') FROM unnest($5::text[]) AS name) AS is_a,
        (SELECT string_agg(format('b.%1$I::text = apart.%1$I', name), ' AND ') FROM unnest($5::text[]) AS name) AS is_b,
        CASE
            WHEN $7::text IS NULL THEN ''''''
            WHEN $6::text IS NULL THEN format('r.%I', $7::text)
            ELSE format('%L || r.%I', $6::text || '/', $7::text)
        END AS stream
), sides AS (
    -- A row has the same text in both schemas; a hash of 64 bits distinguishes rows that differ by accident.
    SELECT parts.*,
        format(
            'SELECT %s, hashtextextended(ROW(%s)::text, 0) AS digest FROM %I.%I AS r WHERE (%s = ANY ($1::text[])) = $2',
            coalesce(keys, '1'), columns, $1::text, $3::text, stream
        ) AS here,
        format(
            'SELECT %s, hashtextextended(ROW(%s)::text, 0) AS digest FROM %I.%I AS r WHERE (%s = ANY ($1::text[])) = $2',
            coalesce(keys, '1'), columns, $2::text, $3::text, stream
        ) AS there
    FROM parts
), joined AS (
    SELECT sides.*,
        format(
            '(%s) AS here FULL JOIN (%s) AS there USING (%s) WHERE here.digest IS DISTINCT FROM there.digest',
            here, there, key
        ) AS apart
    FROM sides
)
SELECT
    format(
        'SELECT h.rows AS here, t.rows AS there, h.digest AS here_digest, t.digest AS there_digest'
        ' FROM (SELECT count(*) AS rows, coalesce(sum(digest), 0)::text AS digest FROM (%s) AS r) AS h'
        ' CROSS JOIN (SELECT count(*) AS rows, coalesce(sum(digest), 0)::text AS digest FROM (%s) AS r) AS t',
        here, there
    ) AS digests,
    format(
        'SELECT count(*) FILTER (WHERE here.digest IS NULL) AS missing,'
        ' count(*) FILTER (WHERE there.digest IS NULL) AS extra,'
        ' count(*) FILTER (WHERE here.digest IS NOT NULL AND there.digest IS NOT NULL) AS different FROM %s',
        apart
    ) AS counts,
    format(
        'SELECT to_jsonb(a)::text AS here, to_jsonb(b)::text AS there FROM (SELECT %s FROM %s LIMIT $3) AS apart'
        ' LEFT JOIN %I.%I AS a ON %s LEFT JOIN %I.%I AS b ON %s',
        key, apart, $1::text, $3::text, is_a, $2::text, $3::text, is_b
    ) AS samples
FROM joined
