-- A page of the matching products, the total number of matches, and their facets.
-- One branch runs: by words ($1, a tsquery, and $3 for rows without terms), by similarity ($6, the longest word), or, if all are null,
-- by the filters only.
--   $1, $2  tsquery, and the same with every word as typed: names that match this come first
--   $3, $4, $5 the search text, as the arguments of former_query
--   $6, $7  the word to which names must have a similar word; all words, for the score
--   $8 category, $9 brand, $10 and $11 price from and to, both inclusive; null: any
--   $12, $13 score and id of the last product of the previous page; $14 page size
WITH former AS (
    SELECT former_query($3, $4, $5) AS query, websearch_to_tsquery('simple', concat_ws(' ', $3, $4)) AS exactly
), found AS (
    SELECT p.*,
        (ts_filter(terms, '{a}') @@ $2::text::tsquery)::integer + ts_rank_cd(terms, $1::text::tsquery, 32)::float8 AS score
    FROM products p
    WHERE terms @@ $1::text::tsquery
      AND ($8::text IS NULL OR category = $8) AND ($9::text IS NULL OR brand = $9)
      AND ($10::bigint IS NULL OR price >= $10) AND ($11::bigint IS NULL OR price <= $11)
    UNION ALL
    SELECT p.*, (ts_filter(words, '{a}') @@ exactly)::integer + ts_rank_cd(words, query, 32)::float8 AS score
    FROM former JOIN products p ON p.terms IS NULL AND p.words @@ query
    WHERE ($8::text IS NULL OR category = $8) AND ($9::text IS NULL OR brand = $9)
      AND ($10::bigint IS NULL OR price >= $10) AND ($11::bigint IS NULL OR price <= $11)
    UNION ALL
    SELECT p.*, (SELECT avg(word_similarity(word, name)) FROM unnest($7::text[]) AS word)::float8 AS score
    FROM products p
    WHERE $6::text <% name
      AND ($8::text IS NULL OR category = $8) AND ($9::text IS NULL OR brand = $9)
      AND ($10::bigint IS NULL OR price >= $10) AND ($11::bigint IS NULL OR price <= $11)
    UNION ALL
    SELECT p.*, 0::float8 AS score
    FROM products p
    WHERE $1::text IS NULL AND $6::text IS NULL
      AND ($8::text IS NULL OR category = $8) AND ($9::text IS NULL OR brand = $9)
      AND ($10::bigint IS NULL OR price >= $10) AND ($11::bigint IS NULL OR price <= $11)
), matched AS MATERIALIZED (
    SELECT product_id, name, description, category, brand, price, currency, version, score FROM found
), page AS (
    SELECT * FROM matched
    WHERE score < $12::float8 OR (score = $12 AND product_id > $13::text)
    ORDER BY score DESC, product_id
    LIMIT $14
), counted AS (  -- by category, by brand, and in total
    SELECT category, brand, grouping(category) = 0 AS by_category, grouping(brand) = 0 AS by_brand,
           count(*) AS count, min(price) AS min, max(price) AS max
    FROM matched GROUP BY GROUPING SETS ((category), (brand), ())
), categories AS (
    SELECT category AS value, count FROM counted WHERE by_category ORDER BY count DESC, value LIMIT 100
), brands AS (
    SELECT brand AS value, count FROM counted WHERE by_brand AND brand IS NOT NULL ORDER BY count DESC, value LIMIT 100
)
SELECT
    everything.count AS total,
    jsonb_build_object(
        'category', (SELECT coalesce(jsonb_agg(to_jsonb(categories) ORDER BY count DESC, value), '[]') FROM categories),
        'brand', (SELECT coalesce(jsonb_agg(to_jsonb(brands) ORDER BY count DESC, value), '[]') FROM brands),
        'price', jsonb_build_object('min', everything.min, 'max', everything.max))::text AS facets,
    ARRAY(SELECT jsonb_build_object(
        'product_id', product_id, 'name', name, 'description', description, 'category', category, 'brand', brand,
        'price', price, 'currency', currency, 'version', version, 'score', score)::text
        FROM page ORDER BY score DESC, product_id) AS items,
    ARRAY(SELECT score FROM page ORDER BY score DESC, product_id) AS scores,
    ARRAY(SELECT product_id FROM page ORDER BY score DESC, product_id) AS ids
FROM counted AS everything WHERE NOT by_category AND NOT by_brand
