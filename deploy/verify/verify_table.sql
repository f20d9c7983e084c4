-- Builds the statements that compare a table with the rows expected from the events; names are parameters, and are quoted here.
-- $1: the table; $2: the columns that are verified; $3: its primary key.
-- $4: those of the columns that are json, here or in another generation. json has no equality: they are compared as jsonb.
-- $5, $6: the stream of a row: $5 || '/' || column $6, or, if $5 is null, column $6 itself.
-- $7, $8: columns, and the older column that each replaces: not verified in a row that only has the older one.
WITH columns AS (
    SELECT
        name,
        place,
        CASE WHEN name = ANY ($4::text[]) THEN '::jsonb' ELSE '' END AS as_jsonb,
        ($8::text[])[array_position($7::text[], name)] AS older
    FROM unnest($2::text[]) WITH ORDINALITY AS listed (name, place)
), parts AS (
    SELECT
        (SELECT string_agg(format('found.%1$I%2$s AS %1$I', name, as_jsonb), ', ' ORDER BY place) FROM columns) AS found,
        (
            SELECT string_agg(
                format(
                    CASE
                        WHEN older IS NULL THEN 'said.%1$I%2$s AS %1$I'
                        ELSE 'CASE WHEN found.%1$I IS NOT NULL OR found.%3$I IS NULL THEN said.%1$I%2$s END AS %1$I'
                    END,
                    name, as_jsonb, older
                ),
                ', ' ORDER BY place
            )
            FROM columns
        ) AS expected,
        (SELECT string_agg(format('found.%1$I = said.%1$I', name), ' AND ') FROM unnest($3::text[]) AS name) AS same_key,
        (
            SELECT string_agg(format('coalesce(found.%1$I, said.%1$I)', name), ', ' ORDER BY place)
            FROM unnest($3::text[]) WITH ORDINALITY AS listed (name, place)
        ) AS key,
        CASE
            WHEN $5::text IS NULL THEN format('r.%I', $6::text)
            ELSE format('%L || r.%I', $5::text || '/', $6::text)
        END AS stream
)
SELECT
    -- Takes $1: values of column $6; $2: the expected rows, as JSON. Returns the rows that differ, and those that only one side has.
    format(
        'SELECT coalesce(found.%1$I, said.%1$I) AS id, concat_ws(''@'', %2$s) AS key,'
        ' CASE WHEN found.%1$I IS NOT NULL THEN to_jsonb(have) END AS found,'
        ' CASE WHEN said.%1$I IS NOT NULL THEN to_jsonb(want) END AS expected'
        ' FROM (SELECT * FROM %3$I WHERE %1$I = ANY ($1::text[])) AS found'
        ' FULL JOIN jsonb_populate_recordset(NULL::%3$I, $2::jsonb) AS said ON %4$s'
        ' CROSS JOIN LATERAL (SELECT %5$s) AS have'
        ' CROSS JOIN LATERAL (SELECT %6$s) AS want'
        ' WHERE ROW(have.*) IS DISTINCT FROM ROW(want.*)',
        $6::text, key, $1::text, same_key, found, expected
    ) AS differing,
    -- The streams of rows without a position.
    format(
        'SELECT DISTINCT %1$s AS stream FROM %2$I AS r WHERE NOT EXISTS (SELECT FROM positions WHERE positions.stream = %1$s)',
        stream, $1::text
    ) AS strays
FROM parts
