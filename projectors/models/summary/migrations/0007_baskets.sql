-- The products of every order that is not cancelled and has several: which products are bought together is counted from these when it is
-- asked (deploy/decisions/0050). Order ids and product ids are compared as bytes, which costs less than any language's order.
CREATE TABLE baskets (
    order_id text COLLATE "C" PRIMARY KEY,
    products text[] COLLATE "C" NOT NULL
);

-- Orders that are here already: exactly the rows that a rebuild would give.
INSERT INTO baskets (order_id, products)
SELECT order_id, products
FROM orders
CROSS JOIN LATERAL (
    SELECT array_agg(DISTINCT (line ->> 'product_id') COLLATE "C" ORDER BY (line ->> 'product_id') COLLATE "C") AS products
    FROM jsonb_array_elements(doc::jsonb -> 'lines') AS line
) AS bought
WHERE status <> 'cancelled' AND cardinality(products) > 1;

CREATE INDEX baskets_by_product ON baskets USING gin (products);
