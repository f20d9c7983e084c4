-- What a shop filters and sorts by. Only older code leaves created_at empty: what such a row has not, its events do, so search is to be
-- rebuilt. Until then, questions about these columns are refused (route /search/products).
ALTER TABLE products
    ADD COLUMN created_at     timestamptz,
    ADD COLUMN available      bigint,
    ADD COLUMN review_count   bigint,
    ADD COLUMN rating_average double precision;

-- Finds at once whether there is such a row. No other index: a delivery or a review must not write the indexes of a product's words.
CREATE INDEX products_without_facts ON products (product_id) WHERE created_at IS NULL;
