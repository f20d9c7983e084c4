-- What a shop filters and sorts by. Only older code leaves created_at empty: what such a row has not, its events do, so search is to be
-- rebuilt. Until then, questions about these columns are refused (route /search/products).
ALTER TABLE products
    ADD COLUMN created_at     timestamptz,
    ADD COLUMN available      bigint,
    ADD COLUMN review_count   bigint,
    ADD COLUMN rating_average double precision;

-- Finds at once whether there is such a row. No other index: a delivery or a review must not write the indexes of a product's words.
CREATE INDEX products_without_facts ON products (product_id) WHERE created_at IS NULL;

-- The terms with each word's stem in its place, by a stemming dictionary of PostgreSQL; a stop word stays as it is. Only searches that name
-- a language use it, and only where an operator has chosen the language (TIDEMARK_SEARCH_LANGUAGES) is there an index over it.
CREATE FUNCTION stems(terms tsvector, dictionary regdictionary) RETURNS tsvector LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT coalesce(string_agg(format('''%s''%s', coalesce((ts_lexize(dictionary, lexeme))[1], lexeme), ':' || places), ' '), '')::tsvector
    FROM unnest(terms)
    CROSS JOIN LATERAL (
        SELECT string_agg(place || weight, ',') AS places FROM unnest(positions, weights) AS listed (place, weight)
    ) AS listed
$$;

CREATE FUNCTION index_stems(language text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('index_stems'));  -- several processes of one projector start together
    EXECUTE format(
        'CREATE INDEX IF NOT EXISTS %I ON products USING gin (stems(terms, %L::regdictionary))',
        'products_stems_' || language, language || '_stem');
END
$$;
