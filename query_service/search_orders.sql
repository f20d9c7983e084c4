-- A page of the orders in which every term is found, and how many there are in all.
-- A term is found in an order's own words, in its customer's name, or in a product that one of its lines does not name.
--   $1 terms, as tsquery; $2 what was typed, if it may be an order's id
--   $3, $4, $5 score, time and id of the last order of the page before; $6 page size
WITH terms AS (
    SELECT term::tsquery AS term, 1::bigint << place::integer AS bit
    FROM unnest($1::text[]) WITH ORDINALITY AS listed (term, place)
    WHERE place BETWEEN 1 AND 62  -- always so; but the planner thinks of one term then, however many there are, and plans once for all
), every AS (
    SELECT coalesce(bit_or(bit), 0) AS bits FROM terms
), hits AS (
    SELECT bit AS bits, o.order_id FROM terms JOIN orders o ON o.words @@ term
    UNION ALL
    SELECT bit, o.order_id FROM terms JOIN customers c ON c.words @@ term JOIN orders o USING (customer_id)
    UNION ALL
    SELECT bit, o.order_id FROM terms JOIN products p ON p.words @@ term
    JOIN orders o ON o.unnamed @> ARRAY[p.product_id]  -- one by one: && with thousands of ids is many times slower
    UNION ALL
    SELECT (SELECT bits FROM every), order_id FROM orders WHERE order_id = $2::text
), found AS (
    SELECT order_id FROM hits GROUP BY order_id HAVING bit_or(bits) = (SELECT bits FROM every)
), matched AS MATERIALIZED (
    SELECT o.order_id, o.customer_id, c.name AS customer_name, o.status, o.currency, o.item_count, o.total, o.placed_at, o.version,
           CASE WHEN o.order_id = $2 THEN 100 ELSE 0 END
               + coalesce((SELECT sum(ts_rank_cd(ranked.words, term)) FROM terms), 0)::float8 AS score
    FROM found JOIN orders o USING (order_id) LEFT JOIN customers c USING (customer_id)
    CROSS JOIN LATERAL (SELECT o.words || coalesce(c.words, '') AS words OFFSET 0) AS ranked  -- joined once, not for each term
), page AS (
    SELECT * FROM matched
    WHERE (score, placed_at, order_id) < ($3::float8, $4::timestamptz, $5::text)
    ORDER BY score DESC, placed_at DESC, order_id DESC
    LIMIT $6
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
