-- A shop as a normalised schema, with the keys and indexes that its transactions need. $-parameters are not possible here: sizes come
-- as settings of the session. The same settings give the same data.
CREATE FUNCTION size_of(name text) RETURNS bigint LANGUAGE sql STABLE AS $$ SELECT current_setting('shop.' || name)::bigint $$;
-- A product by popularity: a few are in very many orders, most in few. 0 <= chance < 1; the first in about 1 % of all lines. The setting
-- ``shop.spread`` is the fifth root of the number of products, less 1.
CREATE FUNCTION popular(chance double precision) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT least(size_of('products'), floor((current_setting('shop.spread')::double precision * chance + 1) ^ 5))::integer
$$;
CREATE FUNCTION word(number integer) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT string_agg(substr('bcdfghklmnprst', 1 + n % 14, 1) || substr('aeiou', 1 + (n / 14) % 5, 1), '')
    FROM (VALUES (number % 70), ((number / 70) % 70), ((number * 7 + 3) % 70)) AS syllables (n)
$$;
SELECT setseed(0.42);

CREATE TABLE regions (region_id integer PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE segments (segment_id integer PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE departments (department_id integer PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE brands (brand_id integer PRIMARY KEY, name text NOT NULL UNIQUE);
INSERT INTO regions SELECT n, 'Region ' || n FROM generate_series(1, 20) AS n;
INSERT INTO segments SELECT n, 'Segment ' || n FROM generate_series(1, 5) AS n;
INSERT INTO departments SELECT n, 'Department ' || n FROM generate_series(1, 20) AS n;
INSERT INTO brands SELECT n, 'Brand ' || word(n + 5000) || n FROM generate_series(1, 500) AS n;

CREATE TABLE categories (
    category_id integer PRIMARY KEY, name text NOT NULL UNIQUE, department_id integer NOT NULL REFERENCES departments
);
INSERT INTO categories SELECT n, 'Category ' || n, 1 + n % 20 FROM generate_series(1, 200) AS n;

CREATE TABLE customers (
    customer_id integer PRIMARY KEY,
    name text NOT NULL,
    region_id integer NOT NULL REFERENCES regions,
    segment_id integer NOT NULL REFERENCES segments
);
INSERT INTO customers
SELECT n, 'Customer ' || n, 1 + n % 20, 1 + n % 5 FROM generate_series(1, greatest(100, size_of('orders') / 20)) AS n;

CREATE TABLE products (
    product_id integer PRIMARY KEY,
    name text NOT NULL,
    description text NOT NULL,
    category_id integer NOT NULL,
    brand_id integer NOT NULL,
    currency text NOT NULL,
    created_at timestamptz NOT NULL
);
INSERT INTO products
SELECT n, word((random() * 199)::integer) || ' ' || word(1000 + (random() * 1999)::integer) || ' ' || n,
    'A ' || word((random() * 3000)::integer) || ' of ' || word((random() * 3000)::integer) || ', made for ' || word((random() * 3000)::integer),
    1 + n % 200, 1 + (random() * 499)::integer, 'EUR', timestamptz '2025-01-01Z' + n * interval '1 minute'
FROM generate_series(1, size_of('products')) AS n;
ALTER TABLE products ADD FOREIGN KEY (category_id) REFERENCES categories, ADD FOREIGN KEY (brand_id) REFERENCES brands;
CREATE INDEX ON products (category_id);
CREATE INDEX ON products (brand_id);

CREATE TABLE variants (sku text PRIMARY KEY, product_id integer NOT NULL, size text NOT NULL);
INSERT INTO variants
SELECT 'sku-' || product_id || '-' || size, product_id, size FROM products, unnest('{S,L}'::text[]) AS size;
ALTER TABLE variants ADD FOREIGN KEY (product_id) REFERENCES products;
CREATE INDEX ON variants (product_id);

CREATE TABLE stock (product_id integer PRIMARY KEY, quantity bigint NOT NULL);
INSERT INTO stock SELECT product_id, CASE WHEN random() < 0.7 THEN (1 + random() * 100)::bigint ELSE 0 END FROM products;
ALTER TABLE stock ADD FOREIGN KEY (product_id) REFERENCES products;

-- A product's price is its latest. Two of them each.
CREATE TABLE prices (
    product_id integer NOT NULL, changed_at timestamptz NOT NULL, price bigint NOT NULL, PRIMARY KEY (product_id, changed_at)
);
INSERT INTO prices
SELECT product_id, created_at + n * interval '90 days', 100 + (random() * 9900)::bigint FROM products, generate_series(0, 1) AS n;
ALTER TABLE prices ADD FOREIGN KEY (product_id) REFERENCES products;

CREATE TABLE reviews (review_id bigint PRIMARY KEY, product_id integer NOT NULL, rating smallint NOT NULL);
INSERT INTO reviews
SELECT n, popular(random()), least(5, 1 + floor(sqrt(random()) * 5))::smallint FROM generate_series(1, size_of('products') * 3) AS n;
ALTER TABLE reviews ADD FOREIGN KEY (product_id) REFERENCES products;
CREATE INDEX ON reviews (product_id);

-- In the order of their times, as a shop gets them.
CREATE TABLE orders (
    order_id integer PRIMARY KEY,
    customer_id integer NOT NULL,
    status text NOT NULL,
    currency text NOT NULL,
    placed_at timestamptz NOT NULL
);
INSERT INTO orders
SELECT n, 1 + (random() * (size_of('customers') - 1))::integer, CASE WHEN random() < 0.04 THEN 'cancelled' ELSE 'placed' END, 'EUR',
    timestamptz '2026-01-01Z' + (n - 1) * (interval '364 days' / size_of('orders'))
FROM generate_series(1, size_of('orders')) AS n;
ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers;
CREATE INDEX ON orders (customer_id);
CREATE INDEX ON orders (placed_at);

CREATE TABLE order_lines (
    order_id integer NOT NULL,
    line integer NOT NULL,
    product_id integer NOT NULL,
    quantity integer NOT NULL,
    amount bigint NOT NULL
);
-- 1 to 19 lines, 10 on average.
INSERT INTO order_lines
SELECT order_id, line, popular(random()), quantity, quantity * (100 + (order_id * 31 + line * 17) % 900)
FROM orders, generate_series(1, 1 + order_id % 19) AS line, LATERAL (SELECT 1 + (order_id + line) % 3 AS quantity) AS bought;
ALTER TABLE order_lines ADD PRIMARY KEY (order_id, line);
ALTER TABLE order_lines ADD FOREIGN KEY (order_id) REFERENCES orders, ADD FOREIGN KEY (product_id) REFERENCES products;
CREATE INDEX ON order_lines (product_id);
