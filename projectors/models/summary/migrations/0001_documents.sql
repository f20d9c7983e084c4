-- Documents ready to serve. doc is what the query service answers with, less what it borrows from other streams
-- (a customer's name, a product's name), which is joined when it is read: so it is right in whichever order facts came.

CREATE TABLE orders (
    order_id    text PRIMARY KEY,
    customer_id text NOT NULL,
    status      text NOT NULL,
    currency    text NOT NULL,
    item_count  bigint NOT NULL,
    total       bigint NOT NULL,
    placed_at   timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    version     bigint NOT NULL,
    doc         jsonb NOT NULL
);
CREATE INDEX orders_by_customer ON orders (customer_id, placed_at DESC, order_id DESC);
CREATE INDEX orders_by_status ON orders (status, placed_at DESC, order_id DESC);
CREATE INDEX orders_by_time ON orders (placed_at DESC, order_id DESC);

-- Everything that happened to an order, product or customer, in order: /orders/{id}/history.
CREATE TABLE history (
    stream  text NOT NULL,
    version bigint NOT NULL,
    type    text NOT NULL,
    at      timestamptz NOT NULL,
    data    jsonb NOT NULL,
    PRIMARY KEY (stream, version)
);

CREATE TABLE customers (
    customer_id text PRIMARY KEY,
    name        text NOT NULL,
    version     bigint NOT NULL,
    doc         jsonb NOT NULL
);

CREATE TABLE products (
    product_id text PRIMARY KEY,
    name       text NOT NULL,
    category   text NOT NULL,
    version    bigint NOT NULL,
    doc        jsonb NOT NULL
);
CREATE INDEX products_by_category ON products (category, product_id);

CREATE TABLE price_history (
    product_id text NOT NULL,
    version    bigint NOT NULL,
    price      bigint NOT NULL,
    currency   text NOT NULL,
    at         timestamptz NOT NULL,
    PRIMARY KEY (product_id, version)
);
