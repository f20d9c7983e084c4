-- From now on the projector says which words a text has (shared/search_text.py), in the column ``terms``. A row without terms was
-- written before, and is found by its ``words``, which PostgreSQL's parser made, as ever; a rebuild makes terms of all.
ALTER TABLE products ADD COLUMN terms tsvector;
ALTER TABLE customers ADD COLUMN terms tsvector;
ALTER TABLE orders ADD COLUMN terms tsvector, ALTER COLUMN words DROP NOT NULL;
CREATE INDEX products_terms ON products USING gin (terms);
CREATE INDEX customers_terms ON customers USING gin (terms);
CREATE INDEX orders_terms ON orders USING gin (terms) WITH (fastupdate = on);

-- What was asked, as rows without terms are looked for: the unfinished last word (null: none), and whether "or" stands before it.
CREATE FUNCTION former_query(head text, last text, either boolean) RETURNS tsquery LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN last IS NULL THEN websearch_to_tsquery('simple', head)
                WHEN either THEN websearch_to_tsquery('simple', regexp_replace(head, '(^|\s)or\s*$', '', 'i'))
                                 || to_tsquery('simple', last || ':*')
                ELSE websearch_to_tsquery('simple', head) && to_tsquery('simple', last || ':*') END
$$;

-- Where nothing is stored yet, words are made for rows without terms alone: of an older projector that is still running.
DO $$
BEGIN
    IF EXISTS (SELECT FROM products) OR EXISTS (SELECT FROM customers) OR EXISTS (SELECT FROM orders) THEN
        RETURN;
    END IF;
    ALTER TABLE products DROP COLUMN words;
    ALTER TABLE products ADD COLUMN words tsvector GENERATED ALWAYS AS (
        CASE WHEN terms IS NULL THEN
            setweight(to_tsvector('simple', name), 'A')
            || setweight(to_tsvector('simple', coalesce(brand, '')), 'B')
            || setweight(to_tsvector('simple', category), 'B')
            || setweight(to_tsvector('simple', coalesce(description, '')), 'C')
        END
    ) STORED;
    ALTER TABLE customers DROP COLUMN words;
    ALTER TABLE customers ADD COLUMN words tsvector GENERATED ALWAYS AS (
        CASE WHEN terms IS NULL THEN to_tsvector('simple', name) END
    ) STORED;
    DROP INDEX orders_words;
    CREATE INDEX products_words ON products USING gin (words) WHERE terms IS NULL;
    CREATE INDEX customers_words ON customers USING gin (words) WHERE terms IS NULL;
    CREATE INDEX orders_words ON orders USING gin (words) WHERE terms IS NULL;
END
$$;
