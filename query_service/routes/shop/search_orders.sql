-- A page of the orders that match every term, and the total number of matches.
-- A term matches in an order's own fields, in its customer's name, or in the product of a line that has no name.
--   $1 terms, as tsquery; $2 all of them, every word as typed: orders that match this come first
--   $3 the search text, which may be an order's id: then its words are matched as typed, without prefix matching
--   $4, $5, $6 score, time and id of the last order of the previous page; $7 page size
--   $8, $9, $10 each term again, for rows without terms: see former_query
WITH asked AS (
    SELECT CASE WHEN EXISTS (SELECT FROM orders WHERE order_id = $3::text) THEN $2::text ELSE term END::tsquery AS term,
           former_query(head, last, either) AS former, 1::bigint << place::integer AS bit
    FROM unnest($1::text[], $8::text[], $9::text[], $10::boolean[]) WITH ORDINALITY AS listed (term, head, last, either, place)
    WHERE place BETWEEN 1 AND 62  -- always true, but makes the planner estimate one term regardless of their number, and so reuse one plan
), every AS (
    SELECT coalesce(bit_or(bit), 0) AS bits FROM asked
), hits AS (
    SELECT bit AS bits, o.order_id FROM asked JOIN orders o ON o.terms @@ term
    UNION ALL
    SELECT bit, o.order_id FROM asked JOIN orders o ON o.terms IS NULL AND o.words @@ former
    UNION ALL
    SELECT bit, o.order_id FROM (
        SELECT bit, customer_id FROM asked JOIN customers c ON c.terms @@ term
        UNION ALL
        SELECT bit, customer_id FROM asked JOIN customers c ON c.terms IS NULL AND c.words @@ former
    ) AS named JOIN orders o USING (customer_id)
    UNION ALL
    SELECT bit, o.order_id FROM (
        SELECT bit, product_id FROM asked JOIN products p ON p.terms @@ term
        UNION ALL
        SELECT bit, product_id FROM asked JOIN products p ON p.terms IS NULL AND p.words @@ former
    ) AS named
    JOIN orders o ON o.unnamed @> ARRAY[product_id]  -- one id at a time: && with thousands of ids is many times slower
    UNION ALL
    SELECT (SELECT bits FROM every), order_id FROM orders WHERE order_id = $3::text
), found AS (
    SELECT order_id FROM hits GROUP BY order_id HAVING bit_or(bits) = (SELECT bits FROM every)
), matched AS MATERIALIZED (
    SELECT o.order_id, o.customer_id, c.name AS customer_name, o.status, o.currency, o.item_count, o.total, o.placed_at, o.version,
           CASE WHEN o.order_id = $3 THEN 100 ELSE 0 END
               + CASE WHEN ranked.terms @@ $2::tsquery THEN 50 ELSE 0 END
               + coalesce(
                   (SELECT sum(ts_rank_cd(ranked.terms, CASE WHEN o.terms IS NULL THEN former ELSE term END, 32)) FROM asked), 0
               )::float8 AS score
    FROM found JOIN orders o USING (order_id) LEFT JOIN customers c USING (customer_id)
    CROSS JOIN LATERAL (  -- concatenated once, not for each term
        SELECT coalesce(o.terms, o.words) || coalesce(c.terms, c.words, '') AS terms OFFSET 0
    ) AS ranked
), page AS (
    SELECT * FROM matched
    WHERE (score, placed_at, order_id) < ($4::float8, $5::timestamptz, $6::text)
    ORDER BY score DESC, placed_at DESC, order_id DESC
    LIMIT $7
)
SELECT
    (SELECT count(*) FROM matched) AS total,
    ARRAY(SELECT jsonb_build_object(
        'order_id', order_id, 'customer_id', customer_id, 'customer_name', customer_name, 'status', status,
        'currency', currency, 'item_count', item_count, 'total', total,
        'placed_at', replace(to_jsonb(placed_at) #>> '{}', '+00:00', 'Z'), 'version', version, 'score', score
        )::text
        FROM page ORDER BY score DESC, placed_at DESC, order_id DESC) AS items,
    ARRAY(SELECT score FROM page ORDER BY score DESC, placed_at DESC, order_id DESC) AS scores,
    ARRAY(SELECT placed_at FROM page ORDER BY score DESC, placed_at DESC, order_id DESC) AS times,
    ARRAY(SELECT order_id FROM page ORDER BY score DESC, placed_at DESC, order_id DESC) AS ids
