-- A page of the matching products, the total number of matches, and their facets.
-- One branch runs: by words ($1, a tsquery, and $3 for rows without terms), by similarity ($6, the longest word), or, if all are null,
-- by the filters only.
--   $1, $2  tsquery, and the same with every word as typed: names that match this come first
--   $3, $4, $5 the search text, as the arguments of former_query
--   $6, $7  the word to which names must have a similar word; all words, for the score
--   $8 category, $9 brand, $10 and $11 price from and to, both inclusive, $12 least rating, $13 whether available; null: any
--   $14 the order: relevance, price, -price, rating or newest
--   $15, $16 rank and id of the last product of the previous page; $17 page size
--   $18, $19 a stemming dictionary, and the tsquery of stems, or null: what matches only by stems comes last, with a score below 0
-- The first three CTEs have no more of a product than is filtered, counted and ordered by: a search may match every product.
WITH former AS (
    SELECT former_query($3, $4, $5) AS query, websearch_to_tsquery('simple', concat_ws(' ', $3, $4)) AS exactly
), found AS (
    SELECT p.*, CASE WHEN $14 = 'relevance' THEN
        (ts_filter(terms, '{a}') @@ $2::text::tsquery)::integer + ts_rank_cd(terms, $1::text::tsquery, 32)::float8 END AS score
    FROM products p WHERE terms @@ $1::text::tsquery
    UNION ALL
    SELECT p.*, CASE WHEN $14 = 'relevance' THEN
        (ts_filter(words, '{a}') @@ exactly)::integer + ts_rank_cd(words, query, 32)::float8 END AS score
    FROM former JOIN products p ON p.terms IS NULL AND p.words @@ query
    UNION ALL
    SELECT p.*, CASE WHEN $14 = 'relevance' THEN ts_rank_cd(stems(terms, $18::regdictionary), $19::text::tsquery, 32)::float8 - 1 END AS score
    FROM products p
    WHERE $19::text IS NOT NULL AND stems(terms, $18) @@ $19::tsquery AND NOT terms @@ $1::text::tsquery
    UNION ALL
    SELECT p.*, CASE WHEN $14 = 'relevance' THEN
        (SELECT avg(word_similarity(word, name)) FROM unnest($7::text[]) AS word)::float8 END AS score
    FROM products p WHERE $6::text <% name
    UNION ALL
    SELECT p.*, 0::float8 AS score FROM products p WHERE $1::text IS NULL AND $6::text IS NULL
), matched AS MATERIALIZED (  -- the higher the rank, the earlier; every rank is exact as a double
    SELECT product_id, category, brand, price, available, rating_average, created_at IS NOT NULL AS has_facts,
        CASE $14::text
            WHEN 'price' THEN -price
            WHEN '-price' THEN price
            WHEN 'rating' THEN round(coalesce(rating_average, 0) * 100) * 1e9 + least(coalesce(review_count, 0), 999999999)
            WHEN 'newest' THEN (extract(epoch FROM created_at) * 1000000)::float8
            ELSE score
        END AS rank
    FROM found
    WHERE ($8::text IS NULL OR category = $8) AND ($9::text IS NULL OR brand = $9)
      AND ($10::bigint IS NULL OR price >= $10) AND ($11::bigint IS NULL OR price <= $11)
      AND ($12::float8 IS NULL OR rating_average >= $12) AND ($13::boolean IS NULL OR (available > 0) = $13)
), page AS (
    SELECT product_id, rank FROM matched
    WHERE rank < $15::float8 OR (rank = $15 AND product_id > $16::text)
    ORDER BY rank DESC, product_id
    LIMIT $17
), hits AS (
    SELECT page.product_id, page.rank, jsonb_build_object(
        'product_id', p.product_id, 'name', p.name, 'description', p.description, 'category', p.category, 'brand', p.brand,
        'price', p.price, 'currency', p.currency, 'rating_average', p.rating_average, 'review_count', p.review_count,
        'available', p.available, 'created_at', replace(to_jsonb(p.created_at) #>> '{}', '+00:00', 'Z'), 'version', p.version,
        'score', CASE WHEN $14 = 'relevance' THEN page.rank ELSE 0 END)::text AS item
    FROM page JOIN products p USING (product_id)
), counted AS (  -- by category, by brand, and in total
    SELECT category, brand, grouping(category) = 0 AS by_category, grouping(brand) = 0 AS by_brand, count(*) AS count
    FROM matched GROUP BY GROUPING SETS ((category), (brand), ())
), everything AS (
    SELECT min(price) AS min, max(price) AS max, coalesce(bool_and(has_facts), true) AS has_facts,
        count(*) FILTER (WHERE available > 0) AS available,
        jsonb_build_array(
            jsonb_build_object('at_least', 4, 'count', count(*) FILTER (WHERE rating_average >= 4)),
            jsonb_build_object('at_least', 3, 'count', count(*) FILTER (WHERE rating_average >= 3)),
            jsonb_build_object('at_least', 2, 'count', count(*) FILTER (WHERE rating_average >= 2)),
            jsonb_build_object('at_least', 1, 'count', count(*) FILTER (WHERE rating_average >= 1))) AS rating
    FROM matched
), categories AS (
    SELECT category AS value, count FROM counted WHERE by_category ORDER BY count DESC, value LIMIT 100
), brands AS (
    SELECT brand AS value, count FROM counted WHERE by_brand AND brand IS NOT NULL ORDER BY count DESC, value LIMIT 100
)
SELECT
    (SELECT count FROM counted WHERE NOT by_category AND NOT by_brand) AS total,
    (jsonb_build_object(
        'category', (SELECT coalesce(jsonb_agg(to_jsonb(categories) ORDER BY count DESC, value), '[]') FROM categories),
        'brand', (SELECT coalesce(jsonb_agg(to_jsonb(brands) ORDER BY count DESC, value), '[]') FROM brands),
        'price', jsonb_build_object('min', min, 'max', max))
        || CASE WHEN has_facts THEN jsonb_build_object('rating', rating, 'available', available) ELSE '{}' END)::text AS facets,
    ARRAY(SELECT item FROM hits ORDER BY rank DESC, product_id) AS items,
    ARRAY(SELECT rank FROM hits ORDER BY rank DESC, product_id) AS ranks,
    ARRAY(SELECT product_id FROM hits ORDER BY rank DESC, product_id) AS ids
FROM everything
