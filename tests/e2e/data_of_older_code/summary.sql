SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE SCHEMA summary;
CREATE SCHEMA summary_registry;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE summary.customers (
    customer_id text NOT NULL,
    name text NOT NULL,
    version bigint NOT NULL,
    doc jsonb NOT NULL
);
CREATE TABLE summary.discarded (
    stream text NOT NULL,
    version bigint NOT NULL,
    CONSTRAINT discarded_version_check CHECK ((version > 0))
);
CREATE TABLE summary.held (
    stream text NOT NULL,
    status text NOT NULL,
    version bigint NOT NULL,
    seen bigint NOT NULL,
    attempts integer NOT NULL,
    reason text NOT NULL,
    exception text NOT NULL,
    fingerprint text NOT NULL,
    first_failed_at timestamp with time zone NOT NULL,
    last_failed_at timestamp with time zone NOT NULL,
    due_at timestamp with time zone,
    CONSTRAINT held_status_check CHECK ((status = ANY (ARRAY['gap'::text, 'retrying'::text, 'dead'::text])))
);
CREATE TABLE summary.history (
    stream text NOT NULL,
    version bigint NOT NULL,
    type text NOT NULL,
    at timestamp with time zone NOT NULL,
    data json NOT NULL
);
ALTER TABLE ONLY summary.history ALTER COLUMN data SET COMPRESSION lz4;
CREATE TABLE summary.migrations (
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE summary.orders (
    order_id text NOT NULL,
    customer_id text NOT NULL,
    status text NOT NULL,
    currency text NOT NULL,
    item_count bigint NOT NULL,
    total bigint NOT NULL,
    placed_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    version bigint NOT NULL,
    doc json NOT NULL
);
ALTER TABLE ONLY summary.orders ALTER COLUMN doc SET COMPRESSION lz4;
CREATE TABLE summary.positions (
    stream text NOT NULL,
    applied bigint NOT NULL,
    CONSTRAINT positions_applied_check CHECK ((applied > 0))
)
WITH (fillfactor='80');
CREATE TABLE summary.price_history (
    product_id text NOT NULL,
    version bigint NOT NULL,
    price bigint NOT NULL,
    currency text NOT NULL,
    at timestamp with time zone NOT NULL
);
CREATE TABLE summary.products (
    product_id text NOT NULL,
    name text NOT NULL,
    category text NOT NULL,
    version bigint NOT NULL,
    doc jsonb NOT NULL
);
CREATE TABLE summary.progress (
    lane integer NOT NULL,
    as_of timestamp with time zone,
    events_applied bigint NOT NULL,
    updated_at timestamp with time zone NOT NULL
);
CREATE TABLE summary_registry.generations (
    number integer NOT NULL,
    state text NOT NULL,
    active boolean DEFAULT false NOT NULL,
    begun_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    ready_at timestamp with time zone,
    activated_at timestamp with time zone,
    begun_by text,
    activated_by text,
    cursor_stream text DEFAULT ''::text NOT NULL,
    cursor_version bigint DEFAULT 0 NOT NULL,
    scanned bigint DEFAULT 0 NOT NULL,
    total bigint,
    done boolean DEFAULT false NOT NULL,
    reads_since timestamp with time zone,
    settled integer[] DEFAULT '{}'::integer[] NOT NULL,
    rate double precision,
    epoch text,
    former text[] DEFAULT '{}'::text[] NOT NULL,
    moving_to text,
    compare_cursor text DEFAULT ''::text NOT NULL,
    compared boolean DEFAULT false NOT NULL,
    ahead bigint DEFAULT 0 NOT NULL,
    examples text[] DEFAULT '{}'::text[] NOT NULL,
    CONSTRAINT generations_number_check CHECK ((number > 0)),
    CONSTRAINT generations_state_check CHECK ((state = ANY (ARRAY['building'::text, 'ready'::text])))
);
CREATE TABLE summary_registry.migrations (
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);
COPY summary.customers (customer_id, name, version, doc) FROM stdin;
k-0	Customer 0	1	{"name": "Customer 0", "email": "k0@example.org", "version": 1, "updated_at": "2026-11-30T12:29:38.083947Z", "customer_id": "k-0", "registered_at": "2026-11-30T12:29:38.083947Z"}
k-2	Customer 2	1	{"name": "Customer 2", "email": "k2@example.org", "version": 1, "updated_at": "2026-11-30T12:29:38.185119Z", "customer_id": "k-2", "registered_at": "2026-11-30T12:29:38.185119Z"}
k-3	Customer 3	1	{"name": "Customer 3", "email": "k3@example.org", "version": 1, "updated_at": "2026-11-30T12:29:38.215066Z", "customer_id": "k-3", "registered_at": "2026-11-30T12:29:38.215066Z"}
k-1	Renamed 1	2	{"name": "Renamed 1", "email": "k1@example.org", "version": 2, "updated_at": "2026-11-30T12:29:38.242291Z", "customer_id": "k-1", "registered_at": "2026-11-30T12:29:38.152850Z"}
\.
COPY summary.discarded (stream, version) FROM stdin;
\.
COPY summary.held (stream, status, version, seen, attempts, reason, exception, fingerprint, first_failed_at, last_failed_at, due_at) FROM stdin;
orders/o-3	dead	1	2	1	projection-failed	DrillError: this stream is poisoned for a drill	DrillError|-|this stream is poisoned for a drill	2026-11-30 12:29:38.493128+00	2026-11-30 12:29:38.493128+00	\N
orders/o-5	dead	1	2	1	projection-failed	DrillError: this stream is poisoned for a drill	DrillError|-|this stream is poisoned for a drill	2026-11-30 12:29:38.56273+00	2026-11-30 12:29:38.56273+00	\N
\.
COPY summary.history (stream, version, type, at, data) FROM stdin;
customers/k-0	1	customers.customer-registered	2026-11-30 12:29:38.083947+00	{"customer_id":"k-0","name":"Customer 0","email":"k0@example.org","registered_at":"2026-11-30T12:29:38.083947Z"}
customers/k-1	1	customers.customer-registered	2026-11-30 12:29:38.15285+00	{"customer_id":"k-1","name":"Customer 1","email":"k1@example.org","registered_at":"2026-11-30T12:29:38.152850Z"}
customers/k-2	1	customers.customer-registered	2026-11-30 12:29:38.185119+00	{"customer_id":"k-2","name":"Customer 2","email":"k2@example.org","registered_at":"2026-11-30T12:29:38.185119Z"}
customers/k-3	1	customers.customer-registered	2026-11-30 12:29:38.215066+00	{"customer_id":"k-3","name":"Customer 3","email":"k3@example.org","registered_at":"2026-11-30T12:29:38.215066Z"}
customers/k-1	2	customers.customer-renamed	2026-11-30 12:29:38.242291+00	{"customer_id":"k-1","name":"Renamed 1","previous_name":"Customer 1","renamed_at":"2026-11-30T12:29:38.242291Z"}
products/p-0	1	catalog.product-created	2026-11-30 12:29:38.267471+00	{"product_id":"p-0","name":"Mug 0 RED/GREEN","description":null,"category":"mugs","brand":null,"price":100,"currency":"EUR","variants":[{"sku":"sku-0","size":"S","colour":null}],"created_at":"2026-11-30T12:29:38.267471Z"}
products/p-1	1	catalog.product-created	2026-11-30 12:29:38.316856+00	{"product_id":"p-1","name":"Mug 1 RED/GREEN","description":null,"category":"mugs","brand":null,"price":101,"currency":"EUR","variants":[{"sku":"sku-1","size":"S","colour":null}],"created_at":"2026-11-30T12:29:38.316856Z"}
products/p-2	1	catalog.product-created	2026-11-30 12:29:38.350226+00	{"product_id":"p-2","name":"Mug 2 RED/GREEN","description":null,"category":"mugs","brand":null,"price":102,"currency":"EUR","variants":[{"sku":"sku-2","size":"S","colour":null}],"created_at":"2026-11-30T12:29:38.350226Z"}
products/p-3	1	catalog.product-created	2026-11-30 12:29:38.371543+00	{"product_id":"p-3","name":"Mug 3 RED/GREEN","description":null,"category":"mugs","brand":null,"price":103,"currency":"EUR","variants":[{"sku":"sku-3","size":"S","colour":null}],"created_at":"2026-11-30T12:29:38.371543Z"}
products/p-1	2	catalog.price-changed	2026-11-30 12:29:38.390816+00	{"product_id":"p-1","previous_price":101,"price":250,"currency":"EUR","changed_at":"2026-11-30T12:29:38.390816Z"}
products/p-1	3	catalog.stock-received	2026-11-30 12:29:38.415393+00	{"product_id":"p-1","quantity":7,"stock":7,"received_at":"2026-11-30T12:29:38.415393Z"}
products/p-1	4	catalog.review-added	2026-11-30 12:29:38.42943+00	{"product_id":"p-1","review_id":"r-1","rating":4,"text":null,"customer_id":null,"review_count":1,"rating_sum":4,"added_at":"2026-11-30T12:29:38.429430Z"}
orders/o-0	1	orders.order-placed	2026-01-01 10:00:00+00	{"order_id":"o-0","customer_id":"k-0","currency":"EUR","lines":[{"product_id":"p-0","name":"Mug 0","quantity":1,"amount":100}],"item_count":1,"total":100,"placed_at":"2026-01-01T10:00:00Z"}
orders/o-1	1	orders.order-placed	2026-01-02 10:00:00+00	{"order_id":"o-1","customer_id":"k-1","currency":"EUR","lines":[{"product_id":"p-1","name":"Mug 1","quantity":2,"amount":200}],"item_count":2,"total":200,"placed_at":"2026-01-02T10:00:00Z"}
orders/o-2	1	orders.order-placed	2026-01-03 10:00:00+00	{"order_id":"o-2","customer_id":"k-2","currency":"EUR","lines":[{"product_id":"p-2","name":"Mug 2","quantity":3,"amount":300}],"item_count":3,"total":300,"placed_at":"2026-01-03T10:00:00Z"}
orders/o-4	1	orders.order-placed	2026-01-05 10:00:00+00	{"order_id":"o-4","customer_id":"k-0","currency":"EUR","lines":[{"product_id":"p-0","name":"Mug 0","quantity":5,"amount":500}],"item_count":5,"total":500,"placed_at":"2026-01-05T10:00:00Z"}
orders/o-6	1	orders.order-placed	2026-01-07 10:00:00+00	{"order_id":"o-6","customer_id":"k-2","currency":"EUR","lines":[{"product_id":"p-2","name":"Mug 2","quantity":7,"amount":700}],"item_count":7,"total":700,"placed_at":"2026-01-07T10:00:00Z"}
orders/o-7	1	orders.order-placed	2026-01-08 10:00:00+00	{"order_id":"o-7","customer_id":"k-3","currency":"EUR","lines":[{"product_id":"p-3","name":"Mug 3","quantity":8,"amount":800}],"item_count":8,"total":800,"placed_at":"2026-01-08T10:00:00Z"}
orders/o-8	1	orders.order-placed	2026-01-09 10:00:00+00	{"order_id":"o-8","customer_id":"k-0","currency":"EUR","lines":[{"product_id":"p-0","name":"Mug 0","quantity":9,"amount":900}],"item_count":9,"total":900,"placed_at":"2026-01-09T10:00:00Z"}
orders/o-9	1	orders.order-placed	2026-01-10 10:00:00+00	{"order_id":"o-9","customer_id":"k-1","currency":"EUR","lines":[{"product_id":"p-1","name":"Mug 1","quantity":10,"amount":1000}],"item_count":10,"total":1000,"placed_at":"2026-01-10T10:00:00Z"}
orders/o-0	2	orders.order-paid	2026-11-30 12:29:38.692505+00	{"order_id":"o-0","customer_id":"k-0","amount":100,"currency":"EUR","method":null,"paid_at":"2026-11-30T12:29:38.692505Z"}
orders/o-1	2	orders.order-paid	2026-11-30 12:29:38.713268+00	{"order_id":"o-1","customer_id":"k-1","amount":200,"currency":"EUR","method":null,"paid_at":"2026-11-30T12:29:38.713268Z"}
orders/o-2	2	orders.order-paid	2026-11-30 12:29:38.732534+00	{"order_id":"o-2","customer_id":"k-2","amount":300,"currency":"EUR","method":null,"paid_at":"2026-11-30T12:29:38.732534Z"}
orders/o-4	2	orders.order-paid	2026-11-30 12:29:38.788722+00	{"order_id":"o-4","customer_id":"k-0","amount":500,"currency":"EUR","method":null,"paid_at":"2026-11-30T12:29:38.788722Z"}
orders/o-6	2	orders.order-paid	2026-11-30 12:29:38.827963+00	{"order_id":"o-6","customer_id":"k-2","amount":700,"currency":"EUR","method":null,"paid_at":"2026-11-30T12:29:38.827963Z"}
orders/o-7	2	orders.order-paid	2026-11-30 12:29:38.854661+00	{"order_id":"o-7","customer_id":"k-3","amount":800,"currency":"EUR","method":null,"paid_at":"2026-11-30T12:29:38.854661Z"}
orders/o-0	3	orders.order-shipped	2026-11-30 12:29:38.87462+00	{"order_id":"o-0","carrier":"post","tracking":null,"shipped_at":"2026-11-30T12:29:38.874620Z"}
orders/o-0	4	orders.order-delivered	2026-11-30 12:29:38.900585+00	{"order_id":"o-0","delivered_at":"2026-11-30T12:29:38.900585Z"}
orders/o-1	3	orders.order-shipped	2026-11-30 12:29:38.926759+00	{"order_id":"o-1","carrier":null,"tracking":null,"shipped_at":"2026-11-30T12:29:38.926759Z"}
orders/o-2	3	orders.order-cancelled	2026-11-30 12:29:38.943351+00	{"order_id":"o-2","customer_id":"k-2","currency":"EUR","lines":[{"product_id":"p-2","name":"Mug 2","quantity":3,"amount":300}],"item_count":3,"total":300,"placed_at":"2026-01-03T10:00:00Z","reason":"no longer wanted","cancelled_at":"2026-11-30T12:29:38.943351Z"}
\.
COPY summary.migrations (name, applied_at) FROM stdin;
positions.sql	2026-11-30 12:29:26.897995+00
discarded.sql	2026-11-30 12:29:26.897995+00
0001_documents.sql	2026-11-30 12:29:26.897995+00
0002_lz4.sql	2026-11-30 12:29:26.897995+00
0003_as_it_came.sql	2026-11-30 12:29:26.897995+00
\.
COPY summary.orders (order_id, customer_id, status, currency, item_count, total, placed_at, updated_at, version, doc) FROM stdin;
o-8	k-0	placed	EUR	9	900	2026-01-09 10:00:00+00	2026-01-09 10:00:00+00	1	{"order_id":"o-8","customer_id":"k-0","status":"placed","currency":"EUR","item_count":9,"total":900,"lines":[{"product_id":"p-0","name":"Mug 0","quantity":9,"amount":900}],"placed_at":"2026-01-09T10:00:00Z","paid_at":null,"paid_amount":null,"shipped_at":null,"carrier":null,"tracking":null,"delivered_at":null,"cancelled_at":null,"cancellation_reason":null,"updated_at":"2026-01-09T10:00:00Z","version":1}
o-9	k-1	placed	EUR	10	1000	2026-01-10 10:00:00+00	2026-01-10 10:00:00+00	1	{"order_id":"o-9","customer_id":"k-1","status":"placed","currency":"EUR","item_count":10,"total":1000,"lines":[{"product_id":"p-1","name":"Mug 1","quantity":10,"amount":1000}],"placed_at":"2026-01-10T10:00:00Z","paid_at":null,"paid_amount":null,"shipped_at":null,"carrier":null,"tracking":null,"delivered_at":null,"cancelled_at":null,"cancellation_reason":null,"updated_at":"2026-01-10T10:00:00Z","version":1}
o-4	k-0	paid	EUR	5	500	2026-01-05 10:00:00+00	2026-11-30 12:29:38.788722+00	2	{"lines": [{"name": "Mug 0", "amount": 500, "quantity": 5, "product_id": "p-0"}], "total": 500, "status": "paid", "carrier": null, "paid_at": "2026-11-30T12:29:38.788722Z", "version": 2, "currency": "EUR", "order_id": "o-4", "tracking": null, "placed_at": "2026-01-05T10:00:00Z", "item_count": 5, "shipped_at": null, "updated_at": "2026-11-30T12:29:38.788722Z", "customer_id": "k-0", "paid_amount": 500, "cancelled_at": null, "delivered_at": null, "cancellation_reason": null}
o-6	k-2	paid	EUR	7	700	2026-01-07 10:00:00+00	2026-11-30 12:29:38.827963+00	2	{"lines": [{"name": "Mug 2", "amount": 700, "quantity": 7, "product_id": "p-2"}], "total": 700, "status": "paid", "carrier": null, "paid_at": "2026-11-30T12:29:38.827963Z", "version": 2, "currency": "EUR", "order_id": "o-6", "tracking": null, "placed_at": "2026-01-07T10:00:00Z", "item_count": 7, "shipped_at": null, "updated_at": "2026-11-30T12:29:38.827963Z", "customer_id": "k-2", "paid_amount": 700, "cancelled_at": null, "delivered_at": null, "cancellation_reason": null}
o-7	k-3	paid	EUR	8	800	2026-01-08 10:00:00+00	2026-11-30 12:29:38.854661+00	2	{"lines": [{"name": "Mug 3", "amount": 800, "quantity": 8, "product_id": "p-3"}], "total": 800, "status": "paid", "carrier": null, "paid_at": "2026-11-30T12:29:38.854661Z", "version": 2, "currency": "EUR", "order_id": "o-7", "tracking": null, "placed_at": "2026-01-08T10:00:00Z", "item_count": 8, "shipped_at": null, "updated_at": "2026-11-30T12:29:38.854661Z", "customer_id": "k-3", "paid_amount": 800, "cancelled_at": null, "delivered_at": null, "cancellation_reason": null}
o-0	k-0	delivered	EUR	1	100	2026-01-01 10:00:00+00	2026-11-30 12:29:38.900585+00	4	{"lines": [{"name": "Mug 0", "amount": 100, "quantity": 1, "product_id": "p-0"}], "total": 100, "status": "delivered", "carrier": "post", "paid_at": "2026-11-30T12:29:38.692505Z", "version": 4, "currency": "EUR", "order_id": "o-0", "tracking": null, "placed_at": "2026-01-01T10:00:00Z", "item_count": 1, "shipped_at": "2026-11-30T12:29:38.874620Z", "updated_at": "2026-11-30T12:29:38.900585Z", "customer_id": "k-0", "paid_amount": 100, "cancelled_at": null, "delivered_at": "2026-11-30T12:29:38.900585Z", "cancellation_reason": null}
o-1	k-1	shipped	EUR	2	200	2026-01-02 10:00:00+00	2026-11-30 12:29:38.926759+00	3	{"lines": [{"name": "Mug 1", "amount": 200, "quantity": 2, "product_id": "p-1"}], "total": 200, "status": "shipped", "carrier": null, "paid_at": "2026-11-30T12:29:38.713268Z", "version": 3, "currency": "EUR", "order_id": "o-1", "tracking": null, "placed_at": "2026-01-02T10:00:00Z", "item_count": 2, "shipped_at": "2026-11-30T12:29:38.926759Z", "updated_at": "2026-11-30T12:29:38.926759Z", "customer_id": "k-1", "paid_amount": 200, "cancelled_at": null, "delivered_at": null, "cancellation_reason": null}
o-2	k-2	cancelled	EUR	3	300	2026-01-03 10:00:00+00	2026-11-30 12:29:38.943351+00	3	{"lines": [{"name": "Mug 2", "amount": 300, "quantity": 3, "product_id": "p-2"}], "total": 300, "status": "cancelled", "carrier": null, "paid_at": "2026-11-30T12:29:38.732534Z", "version": 3, "currency": "EUR", "order_id": "o-2", "tracking": null, "placed_at": "2026-01-03T10:00:00Z", "item_count": 3, "shipped_at": null, "updated_at": "2026-11-30T12:29:38.943351Z", "customer_id": "k-2", "paid_amount": 300, "cancelled_at": "2026-11-30T12:29:38.943351Z", "delivered_at": null, "cancellation_reason": "no longer wanted"}
\.
COPY summary.positions (stream, applied) FROM stdin;
customers/k-0	1
customers/k-2	1
customers/k-3	1
customers/k-1	2
products/p-0	1
products/p-2	1
products/p-3	1
products/p-1	4
orders/o-8	1
orders/o-9	1
orders/o-4	2
orders/o-6	2
orders/o-7	2
orders/o-0	4
orders/o-1	3
orders/o-2	3
\.
COPY summary.price_history (product_id, version, price, currency, at) FROM stdin;
p-0	1	100	EUR	2026-11-30 12:29:38.267471+00
p-1	1	101	EUR	2026-11-30 12:29:38.316856+00
p-2	1	102	EUR	2026-11-30 12:29:38.350226+00
p-3	1	103	EUR	2026-11-30 12:29:38.371543+00
p-1	2	250	EUR	2026-11-30 12:29:38.390816+00
\.
COPY summary.products (product_id, name, category, version, doc) FROM stdin;
p-0	Mug 0 RED/GREEN	mugs	1	{"name": "Mug 0 RED/GREEN", "brand": null, "price": 100, "stock": 0, "version": 1, "category": "mugs", "currency": "EUR", "variants": [{"sku": "sku-0", "size": "S", "colour": null}], "product_id": "p-0", "updated_at": "2026-11-30T12:29:38.267471Z", "description": null, "review_count": 0, "rating_average": null}
p-2	Mug 2 RED/GREEN	mugs	1	{"name": "Mug 2 RED/GREEN", "brand": null, "price": 102, "stock": 0, "version": 1, "category": "mugs", "currency": "EUR", "variants": [{"sku": "sku-2", "size": "S", "colour": null}], "product_id": "p-2", "updated_at": "2026-11-30T12:29:38.350226Z", "description": null, "review_count": 0, "rating_average": null}
p-3	Mug 3 RED/GREEN	mugs	1	{"name": "Mug 3 RED/GREEN", "brand": null, "price": 103, "stock": 0, "version": 1, "category": "mugs", "currency": "EUR", "variants": [{"sku": "sku-3", "size": "S", "colour": null}], "product_id": "p-3", "updated_at": "2026-11-30T12:29:38.371543Z", "description": null, "review_count": 0, "rating_average": null}
p-1	Mug 1 RED/GREEN	mugs	4	{"name": "Mug 1 RED/GREEN", "brand": null, "price": 250, "stock": 7, "version": 4, "category": "mugs", "currency": "EUR", "variants": [{"sku": "sku-1", "size": "S", "colour": null}], "product_id": "p-1", "updated_at": "2026-11-30T12:29:38.429430Z", "description": null, "review_count": 1, "rating_average": 4.0}
\.
COPY summary.progress (lane, as_of, events_applied, updated_at) FROM stdin;
0	2026-11-30 12:29:40.980029+00	10	2026-11-30 12:29:41.001591+00
1	2026-11-30 12:29:40.980029+00	9	2026-11-30 12:29:41.026208+00
2	2026-11-30 12:29:40.980029+00	7	2026-11-30 12:29:41.026208+00
3	2026-11-30 12:29:40.980029+00	4	2026-11-30 12:29:41.026208+00
\.
COPY summary_registry.generations (number, state, active, begun_at, updated_at, ready_at, activated_at, begun_by, activated_by, cursor_stream, cursor_version, scanned, total, done, reads_since, settled, rate, epoch, former, moving_to, compare_cursor, compared, ahead, examples) FROM stdin;
1	ready	t	2026-11-30 12:29:26.727943+00	2026-11-30 12:29:26.727943+00	2026-11-30 12:29:26.727943+00	2026-11-30 12:29:26.727943+00	\N	\N		0	0	\N	f	\N	{}	\N	03c76b33548b40d890046037ad5a3c5d	{}	\N		f	0	{}
\.
COPY summary_registry.migrations (name, applied_at) FROM stdin;
generations.sql	2026-11-30 12:29:26.727943+00
generations_epochs.sql	2026-11-30 12:29:26.727943+00
\.
ALTER TABLE ONLY summary.customers
    ADD CONSTRAINT customers_pkey PRIMARY KEY (customer_id);
ALTER TABLE ONLY summary.discarded
    ADD CONSTRAINT discarded_pkey PRIMARY KEY (stream, version);
ALTER TABLE ONLY summary.held
    ADD CONSTRAINT held_pkey PRIMARY KEY (stream);
ALTER TABLE ONLY summary.history
    ADD CONSTRAINT history_pkey PRIMARY KEY (stream, version);
ALTER TABLE ONLY summary.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (name);
ALTER TABLE ONLY summary.orders
    ADD CONSTRAINT orders_pkey PRIMARY KEY (order_id);
ALTER TABLE ONLY summary.positions
    ADD CONSTRAINT positions_pkey PRIMARY KEY (stream);
ALTER TABLE ONLY summary.price_history
    ADD CONSTRAINT price_history_pkey PRIMARY KEY (product_id, version);
ALTER TABLE ONLY summary.products
    ADD CONSTRAINT products_pkey PRIMARY KEY (product_id);
ALTER TABLE ONLY summary.progress
    ADD CONSTRAINT progress_pkey PRIMARY KEY (lane);
ALTER TABLE ONLY summary_registry.generations
    ADD CONSTRAINT generations_pkey PRIMARY KEY (number);
ALTER TABLE ONLY summary_registry.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (name);
CREATE INDEX held_due ON summary.held USING btree (due_at) WHERE (due_at IS NOT NULL);
CREATE INDEX orders_by_customer ON summary.orders USING btree (customer_id, placed_at DESC, order_id DESC);
CREATE INDEX orders_by_status ON summary.orders USING btree (status, placed_at DESC, order_id DESC);
CREATE INDEX orders_by_time ON summary.orders USING btree (placed_at DESC, order_id DESC);
CREATE INDEX products_by_category ON summary.products USING btree (category, product_id);
CREATE UNIQUE INDEX one_generation_is_active ON summary_registry.generations USING btree (active) WHERE active;
GRANT ALL ON SCHEMA public TO tidemark;
GRANT USAGE ON SCHEMA summary TO tidemark_reader;
GRANT USAGE ON SCHEMA summary_registry TO tidemark_reader;
GRANT SELECT ON TABLE summary.customers TO tidemark_reader;
GRANT SELECT ON TABLE summary.discarded TO tidemark_reader;
GRANT SELECT ON TABLE summary.held TO tidemark_reader;
GRANT SELECT ON TABLE summary.history TO tidemark_reader;
GRANT SELECT ON TABLE summary.migrations TO tidemark_reader;
GRANT SELECT ON TABLE summary.orders TO tidemark_reader;
GRANT SELECT ON TABLE summary.positions TO tidemark_reader;
GRANT SELECT ON TABLE summary.price_history TO tidemark_reader;
GRANT SELECT ON TABLE summary.products TO tidemark_reader;
GRANT SELECT ON TABLE summary.progress TO tidemark_reader;
GRANT SELECT ON TABLE summary_registry.generations TO tidemark_reader;
GRANT SELECT ON TABLE summary_registry.migrations TO tidemark_reader;
