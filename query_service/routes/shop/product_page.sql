-- A product's document, with the products that are bought together with it, and its latest prices, the oldest of them first.
--   $1 product; $2 the least number of orders with both, $3 the most related products; $4 the most prices
WITH counted AS (
    SELECT other AS product_id, count(*) AS orders
    FROM baskets CROSS JOIN LATERAL unnest(products) AS other
    WHERE products @> ARRAY[$1::text] AND other <> $1
    GROUP BY other HAVING count(*) >= $2::bigint
    ORDER BY orders DESC, other LIMIT $3
), related AS (
    SELECT orders, counted.product_id, jsonb_build_object(
        'product_id', counted.product_id, 'name', p.name, 'price', p.doc -> 'price', 'currency', p.doc -> 'currency',
        'orders', orders) AS item
    FROM counted LEFT JOIN products p ON p.product_id = counted.product_id COLLATE "default"
), prices AS (
    SELECT version, jsonb_build_object('version', version, 'price', price, 'currency', currency,
        'at', replace(to_jsonb(at) #>> '{}', '+00:00', 'Z')) AS item
    FROM price_history WHERE product_id = $1 ORDER BY version DESC LIMIT $4
)
SELECT version, (with_availability(doc) || jsonb_build_object(
    'related', (SELECT coalesce(jsonb_agg(item ORDER BY orders DESC, product_id), '[]') FROM related),
    'price_history', (SELECT coalesce(jsonb_agg(item ORDER BY version), '[]') FROM prices)))::text AS body
FROM products WHERE product_id = $1
