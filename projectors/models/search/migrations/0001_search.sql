-- Full text ('simple': names are not prose and customers speak many languages) and trigrams for what is misspelt.

-- In public, so that a second generation of this schema finds it too.
CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;

CREATE TABLE products (
    product_id  text PRIMARY KEY,
    name        text NOT NULL,
    description text,
    category    text NOT NULL,
    brand       text,
    price       bigint NOT NULL,
    currency    text NOT NULL,
    version     bigint NOT NULL,
    words       tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('simple', name), 'A')
        || setweight(to_tsvector('simple', coalesce(brand, '')), 'B')
        || setweight(to_tsvector('simple', category), 'B')
        || setweight(to_tsvector('simple', coalesce(description, '')), 'C')
    ) STORED
);
CREATE INDEX products_words ON products USING gin (words);
CREATE INDEX products_name_trigrams ON products USING gin (name gin_trgm_ops);
CREATE INDEX products_by_category ON products (category);

CREATE TABLE customers (
    customer_id text PRIMARY KEY,
    name        text NOT NULL,
    version     bigint NOT NULL,
    words       tsvector GENERATED ALWAYS AS (to_tsvector('simple', name)) STORED
);
CREATE INDEX customers_words ON customers USING gin (words);

CREATE TABLE orders (
    order_id    text PRIMARY KEY,
    customer_id text NOT NULL,
    status      text NOT NULL,
    currency    text NOT NULL,
    item_count  bigint NOT NULL,
    total       bigint NOT NULL,
    placed_at   timestamptz NOT NULL,
    version     bigint NOT NULL,
    -- Products of lines that came without a name of their own: found through products.words when searched.
    unnamed     text[] NOT NULL,
    words       tsvector NOT NULL
) WITH (fillfactor = 80); -- room for a new status beside the old row: then no index is written again
CREATE INDEX orders_words ON orders USING gin (words) WITH (fastupdate = on);
CREATE INDEX orders_unnamed ON orders USING gin (unnamed);
CREATE INDEX orders_by_customer ON orders (customer_id);
