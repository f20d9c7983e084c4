-- A page of the products that match, how many there are in all, and their facets.
-- One branch runs: $1 (a tsquery) by words; $3 (the longest word) by similarity; neither: by the filters alone.
--   $1, $2  tsquery with the last word unfinished, and as typed: what matches both ranks higher
--   $3, $4  the word that names must have one alike of; all words, which rank
--   $5 category, $6 brand, $7 and $8 price from and to, both inclusive; null: any
--   $9, $10 score and id of the last product of the page before; $11 page size
WITH found AS (
    SELECT p.*, (ts_rank_cd(words, $1::text::tsquery) + ts_rank_cd(words, $2::text::tsquery))::float8 AS score
    FROM products p
    WHERE words @@ $1::text::tsquery
      AND ($5::text IS NULL OR category = $5) AND ($6::text IS NULL OR brand = $6)
      AND ($7::bigint IS NULL OR price >= $7) AND ($8::bigint IS NULL OR price <= $8)
    UNION ALL
    SELECT p.*, (SELECT avg(word_similarity(word, name)) FROM unnest($4::text[]) AS word)::float8 AS score
    FROM products p
    WHERE $3::text <% name
      AND ($5::text IS NULL OR category = $5) AND ($6::text IS NULL OR brand = $6)
      AND ($7::bigint IS NULL OR price >= $7) AND ($8::bigint IS NULL OR price <= $8)
    UNION ALL
    SELECT p.*, 0::float8 AS score
    FROM products p
    WHERE $1::text IS NULL AND $3::text IS NULL
      AND ($5::text IS NULL OR category = $5) AND ($6::text IS NULL OR brand = $6)
      AND ($7::bigint IS NULL OR price >= $7) AND ($8::bigint IS NULL OR price <= $8)
), matched AS MATERIALIZED (
    SELECT product_id, name, description, category, brand, price, currency, version, score FROM found
), page AS (
    SELECT * FROM matched
    WHERE score < $9::float8 OR (score = $9 AND product_id > $10::text)
    ORDER BY score DESC, product_id
    LIMIT $11
), counted AS (  -- by category, by brand, and all of them
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
