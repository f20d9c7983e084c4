-- Builds the statements that compare the positions of two schemas. $1, $2: the schemas, quoted here; $3: the kinds of stream to compare.
WITH joined AS (
    SELECT format(
        'SELECT stream, coalesce(here.applied, 0) AS here, coalesce(there.applied, 0) AS there'
        ' FROM %I.positions AS here FULL JOIN %I.positions AS there USING (stream)'
        ' WHERE split_part(stream, ''/'', 1) = ANY (%L::text[])',
        $1::text, $2::text, $3::text[]
    ) AS positions
)
SELECT
    format(
        'SELECT (SELECT count(*) FROM %1$I.positions) AS here, (SELECT count(*) FROM %2$I.positions) AS there,'
        ' (SELECT count(*) FROM %1$I.held) AS here_held, (SELECT count(*) FROM %2$I.held) AS there_held',
        $1::text, $2::text
    ) AS counts,
    -- Takes $1: the maximum number of them.
    format('SELECT * FROM (%s) AS positions WHERE here <> there LIMIT $1', positions) AS apart,
    format(
        'SELECT count(*) FILTER (WHERE here < there) AS behind, count(*) FILTER (WHERE here > there) AS ahead'
        ' FROM (%s) AS positions',
        positions
    ) AS how_far,
    -- Takes $1: names of streams.
    format(
        'SELECT stream, coalesce(here.applied, 0) AS here, coalesce(there.applied, 0) AS there'
        ' FROM unnest($1::text[]) AS wanted (stream)'
        ' LEFT JOIN %I.positions AS here USING (stream) LEFT JOIN %I.positions AS there USING (stream)',
        $1::text, $2::text
    ) AS again,
    format(
        'SELECT stream, here.status || '': '' || here.reason AS here, there.status || '': '' || there.reason AS there'
        ' FROM unnest($1::text[]) AS wanted (stream)'
        ' LEFT JOIN %I.held AS here USING (stream) LEFT JOIN %I.held AS there USING (stream)',
        $1::text, $2::text
    ) AS held
FROM joined
