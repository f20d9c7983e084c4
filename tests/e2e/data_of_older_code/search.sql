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
CREATE SCHEMA search;
CREATE SCHEMA search_2;
CREATE SCHEMA search_registry;
CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;
COMMENT ON EXTENSION pg_trgm IS 'text similarity measurement and index searching based on trigrams';
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE search.customers (
    customer_id text NOT NULL,
    name text NOT NULL,
    version bigint NOT NULL,
    words tsvector GENERATED ALWAYS AS (to_tsvector('simple'::regconfig, name)) STORED
);
CREATE TABLE search.discarded (
    stream text NOT NULL,
    version bigint NOT NULL,
    CONSTRAINT discarded_version_check CHECK ((version > 0))
);
CREATE TABLE search.held (
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
CREATE TABLE search.migrations (
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE search.orders (
    order_id text NOT NULL,
    customer_id text NOT NULL,
    status text NOT NULL,
    currency text NOT NULL,
    item_count bigint NOT NULL,
    total bigint NOT NULL,
    placed_at timestamp with time zone NOT NULL,
    version bigint NOT NULL,
    unnamed text[] NOT NULL,
    words tsvector NOT NULL
)
WITH (fillfactor='80');
CREATE TABLE search.positions (
    stream text NOT NULL,
    applied bigint NOT NULL,
    CONSTRAINT positions_applied_check CHECK ((applied > 0))
)
WITH (fillfactor='80');
CREATE TABLE search.products (
    product_id text NOT NULL,
    name text NOT NULL,
    description text,
    category text NOT NULL,
    brand text,
    price bigint NOT NULL,
    currency text NOT NULL,
    version bigint NOT NULL,
    words tsvector GENERATED ALWAYS AS ((((setweight(to_tsvector('simple'::regconfig, name), 'A'::"char") || setweight(to_tsvector('simple'::regconfig, COALESCE(brand, ''::text)), 'B'::"char")) || setweight(to_tsvector('simple'::regconfig, category), 'B'::"char")) || setweight(to_tsvector('simple'::regconfig, COALESCE(description, ''::text)), 'C'::"char"))) STORED
);
CREATE TABLE search.progress (
    lane integer NOT NULL,
    as_of timestamp with time zone,
    events_applied bigint NOT NULL,
    updated_at timestamp with time zone NOT NULL
);
CREATE TABLE search_2.customers (
    customer_id text NOT NULL,
    name text NOT NULL,
    version bigint NOT NULL,
    words tsvector GENERATED ALWAYS AS (to_tsvector('simple'::regconfig, name)) STORED
);
CREATE TABLE search_2.discarded (
    stream text NOT NULL,
    version bigint NOT NULL,
    CONSTRAINT discarded_version_check CHECK ((version > 0))
);
CREATE TABLE search_2.held (
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
CREATE TABLE search_2.migrations (
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE search_2.orders (
    order_id text NOT NULL,
    customer_id text NOT NULL,
    status text NOT NULL,
    currency text NOT NULL,
    item_count bigint NOT NULL,
    total bigint NOT NULL,
    placed_at timestamp with time zone NOT NULL,
    version bigint NOT NULL,
    unnamed text[] NOT NULL,
    words tsvector NOT NULL
)
WITH (fillfactor='80');
CREATE TABLE search_2.positions (
    stream text NOT NULL,
    applied bigint NOT NULL,
    CONSTRAINT positions_applied_check CHECK ((applied > 0))
)
WITH (fillfactor='80');
CREATE TABLE search_2.products (
    product_id text NOT NULL,
    name text NOT NULL,
    description text,
    category text NOT NULL,
    brand text,
    price bigint NOT NULL,
    currency text NOT NULL,
    version bigint NOT NULL,
    words tsvector GENERATED ALWAYS AS ((((setweight(to_tsvector('simple'::regconfig, name), 'A'::"char") || setweight(to_tsvector('simple'::regconfig, COALESCE(brand, ''::text)), 'B'::"char")) || setweight(to_tsvector('simple'::regconfig, category), 'B'::"char")) || setweight(to_tsvector('simple'::regconfig, COALESCE(description, ''::text)), 'C'::"char"))) STORED
);
CREATE TABLE search_2.progress (
    lane integer NOT NULL,
    as_of timestamp with time zone,
    events_applied bigint NOT NULL,
    updated_at timestamp with time zone NOT NULL
);
CREATE TABLE search_registry.generations (
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
CREATE TABLE search_registry.migrations (
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);
COPY search.customers (customer_id, name, version) FROM stdin;
k-0	Customer 0	1
k-2	Customer 2	1
k-3	Customer 3	1
k-1	Renamed 1	2
\.
COPY search.discarded (stream, version) FROM stdin;
\.
COPY search.held (stream, status, version, seen, attempts, reason, exception, fingerprint, first_failed_at, last_failed_at, due_at) FROM stdin;
\.
COPY search.migrations (name, applied_at) FROM stdin;
positions.sql	2026-11-30 12:29:27.303337+00
discarded.sql	2026-11-30 12:29:27.303337+00
0001_search.sql	2026-11-30 12:29:27.303337+00
0002_short_pending_lists.sql	2026-11-30 12:29:27.303337+00
0003_pending_lists_by_session.sql	2026-11-30 12:29:27.303337+00
\.
COPY search.orders (order_id, customer_id, status, currency, item_count, total, placed_at, version, unnamed, words) FROM stdin;
o-8	k-0	placed	EUR	9	900	2026-01-09 10:00:00+00	1	{}	'-0':6C '-8':2A '0':4B 'k':5C 'mug':3B 'o':1A
o-9	k-1	placed	EUR	10	1000	2026-01-10 10:00:00+00	1	{}	'-1':6C '-9':2A '1':4B 'k':5C 'mug':3B 'o':1A
o-3	k-3	paid	EUR	4	400	2026-01-04 10:00:00+00	2	{}	'-3':2A,6C '3':4B 'k':5C 'mug':3B 'o':1A
o-4	k-0	paid	EUR	5	500	2026-01-05 10:00:00+00	2	{}	'-0':6C '-4':2A '0':4B 'k':5C 'mug':3B 'o':1A
o-5	k-1	paid	EUR	6	600	2026-01-06 10:00:00+00	2	{}	'-1':6C '-5':2A '1':4B 'k':5C 'mug':3B 'o':1A
o-6	k-2	paid	EUR	7	700	2026-01-07 10:00:00+00	2	{}	'-2':6C '-6':2A '2':4B 'k':5C 'mug':3B 'o':1A
o-7	k-3	paid	EUR	8	800	2026-01-08 10:00:00+00	2	{}	'-3':6C '-7':2A '3':4B 'k':5C 'mug':3B 'o':1A
o-0	k-0	delivered	EUR	1	100	2026-01-01 10:00:00+00	4	{}	'-0':2A,6C '0':4B 'k':5C 'mug':3B 'o':1A
o-1	k-1	shipped	EUR	2	200	2026-01-02 10:00:00+00	3	{}	'-1':2A,6C '1':4B 'k':5C 'mug':3B 'o':1A
o-2	k-2	cancelled	EUR	3	300	2026-01-03 10:00:00+00	3	{}	'-2':2A,6C '2':4B 'k':5C 'mug':3B 'o':1A
\.
COPY search.positions (stream, applied) FROM stdin;
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
orders/o-3	2
orders/o-4	2
orders/o-5	2
orders/o-6	2
orders/o-7	2
orders/o-0	4
orders/o-1	3
orders/o-2	3
\.
COPY search.products (product_id, name, description, category, brand, price, currency, version) FROM stdin;
p-0	Mug 0 RED/GREEN	\N	mugs	\N	100	EUR	1
p-2	Mug 2 RED/GREEN	\N	mugs	\N	102	EUR	1
p-3	Mug 3 RED/GREEN	\N	mugs	\N	103	EUR	1
p-1	Mug 1 RED/GREEN	\N	mugs	\N	250	EUR	4
\.
COPY search.progress (lane, as_of, events_applied, updated_at) FROM stdin;
0	2026-11-30 12:29:40.980029+00	10	2026-11-30 12:29:40.99714+00
1	2026-11-30 12:29:40.980029+00	9	2026-11-30 12:29:41.015444+00
2	2026-11-30 12:29:40.980029+00	9	2026-11-30 12:29:41.015444+00
3	2026-11-30 12:29:40.980029+00	6	2026-11-30 12:29:41.015444+00
\.
COPY search_2.customers (customer_id, name, version) FROM stdin;
k-0	Customer 0	1
k-1	Renamed 1	2
k-2	Customer 2	1
k-3	Customer 3	1
\.
COPY search_2.discarded (stream, version) FROM stdin;
\.
COPY search_2.held (stream, status, version, seen, attempts, reason, exception, fingerprint, first_failed_at, last_failed_at, due_at) FROM stdin;
\.
COPY search_2.migrations (name, applied_at) FROM stdin;
positions.sql	2026-11-30 12:29:39.133464+00
discarded.sql	2026-11-30 12:29:39.133464+00
0001_search.sql	2026-11-30 12:29:39.133464+00
0002_short_pending_lists.sql	2026-11-30 12:29:39.133464+00
0003_pending_lists_by_session.sql	2026-11-30 12:29:39.133464+00
\.
COPY search_2.orders (order_id, customer_id, status, currency, item_count, total, placed_at, version, unnamed, words) FROM stdin;
o-0	k-0	delivered	EUR	1	100	2026-01-01 10:00:00+00	4	{}	'-0':2A,6C '0':4B 'k':5C 'mug':3B 'o':1A
o-1	k-1	shipped	EUR	2	200	2026-01-02 10:00:00+00	3	{}	'-1':2A,6C '1':4B 'k':5C 'mug':3B 'o':1A
o-2	k-2	cancelled	EUR	3	300	2026-01-03 10:00:00+00	3	{}	'-2':2A,6C '2':4B 'k':5C 'mug':3B 'o':1A
o-3	k-3	paid	EUR	4	400	2026-01-04 10:00:00+00	2	{}	'-3':2A,6C '3':4B 'k':5C 'mug':3B 'o':1A
o-4	k-0	paid	EUR	5	500	2026-01-05 10:00:00+00	2	{}	'-0':6C '-4':2A '0':4B 'k':5C 'mug':3B 'o':1A
o-5	k-1	paid	EUR	6	600	2026-01-06 10:00:00+00	2	{}	'-1':6C '-5':2A '1':4B 'k':5C 'mug':3B 'o':1A
o-6	k-2	paid	EUR	7	700	2026-01-07 10:00:00+00	2	{}	'-2':6C '-6':2A '2':4B 'k':5C 'mug':3B 'o':1A
o-7	k-3	paid	EUR	8	800	2026-01-08 10:00:00+00	2	{}	'-3':6C '-7':2A '3':4B 'k':5C 'mug':3B 'o':1A
o-8	k-0	placed	EUR	9	900	2026-01-09 10:00:00+00	1	{}	'-0':6C '-8':2A '0':4B 'k':5C 'mug':3B 'o':1A
o-9	k-1	placed	EUR	10	1000	2026-01-10 10:00:00+00	1	{}	'-1':6C '-9':2A '1':4B 'k':5C 'mug':3B 'o':1A
\.
COPY search_2.positions (stream, applied) FROM stdin;
customers/k-0	1
customers/k-1	2
customers/k-2	1
customers/k-3	1
orders/o-0	4
orders/o-1	3
orders/o-2	3
orders/o-3	2
orders/o-4	2
orders/o-5	2
orders/o-6	2
orders/o-7	2
orders/o-8	1
orders/o-9	1
products/p-0	1
products/p-1	4
products/p-2	1
products/p-3	1
\.
COPY search_2.products (product_id, name, description, category, brand, price, currency, version) FROM stdin;
p-0	Mug 0 RED/GREEN	\N	mugs	\N	100	EUR	1
p-1	Mug 1 RED/GREEN	\N	mugs	\N	250	EUR	4
p-2	Mug 2 RED/GREEN	\N	mugs	\N	102	EUR	1
p-3	Mug 3 RED/GREEN	\N	mugs	\N	103	EUR	1
\.
COPY search_2.progress (lane, as_of, events_applied, updated_at) FROM stdin;
0	2026-11-30 12:29:40.980029+00	10	2026-11-30 12:29:41.000965+00
1	2026-11-30 12:29:40.980029+00	9	2026-11-30 12:29:41.030044+00
2	2026-11-30 12:29:40.980029+00	9	2026-11-30 12:29:41.030044+00
3	2026-11-30 12:29:40.980029+00	6	2026-11-30 12:29:41.030044+00
\.
COPY search_registry.generations (number, state, active, begun_at, updated_at, ready_at, activated_at, begun_by, activated_by, cursor_stream, cursor_version, scanned, total, done, reads_since, settled, rate, epoch, former, moving_to, compare_cursor, compared, ahead, examples) FROM stdin;
1	ready	t	2026-11-30 12:29:27.174386+00	2026-11-30 12:29:27.174386+00	2026-11-30 12:29:27.174386+00	2026-11-30 12:29:27.174386+00	\N	\N		0	0	\N	f	\N	{}	\N	03c76b33548b40d890046037ad5a3c5d	{}	\N		f	0	{}
2	ready	f	2026-11-30 12:29:39.293437+00	2026-11-30 12:29:39.657629+00	2026-11-30 12:29:39.654901+00	\N	48d962259af944e9b6bc1915532c93b6	\N	products/p-3	1	34	34	t	2026-11-30 12:29:39.413762+00	{1,2,0,3}	\N	03c76b33548b40d890046037ad5a3c5d	{}	\N		f	0	{}
\.
COPY search_registry.migrations (name, applied_at) FROM stdin;
generations.sql	2026-11-30 12:29:27.174386+00
generations_epochs.sql	2026-11-30 12:29:27.174386+00
\.
ALTER TABLE ONLY search.customers
    ADD CONSTRAINT customers_pkey PRIMARY KEY (customer_id);
ALTER TABLE ONLY search.discarded
    ADD CONSTRAINT discarded_pkey PRIMARY KEY (stream, version);
ALTER TABLE ONLY search.held
    ADD CONSTRAINT held_pkey PRIMARY KEY (stream);
ALTER TABLE ONLY search.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (name);
ALTER TABLE ONLY search.orders
    ADD CONSTRAINT orders_pkey PRIMARY KEY (order_id);
ALTER TABLE ONLY search.positions
    ADD CONSTRAINT positions_pkey PRIMARY KEY (stream);
ALTER TABLE ONLY search.products
    ADD CONSTRAINT products_pkey PRIMARY KEY (product_id);
ALTER TABLE ONLY search.progress
    ADD CONSTRAINT progress_pkey PRIMARY KEY (lane);
ALTER TABLE ONLY search_2.customers
    ADD CONSTRAINT customers_pkey PRIMARY KEY (customer_id);
ALTER TABLE ONLY search_2.discarded
    ADD CONSTRAINT discarded_pkey PRIMARY KEY (stream, version);
ALTER TABLE ONLY search_2.held
    ADD CONSTRAINT held_pkey PRIMARY KEY (stream);
ALTER TABLE ONLY search_2.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (name);
ALTER TABLE ONLY search_2.orders
    ADD CONSTRAINT orders_pkey PRIMARY KEY (order_id);
ALTER TABLE ONLY search_2.positions
    ADD CONSTRAINT positions_pkey PRIMARY KEY (stream);
ALTER TABLE ONLY search_2.products
    ADD CONSTRAINT products_pkey PRIMARY KEY (product_id);
ALTER TABLE ONLY search_2.progress
    ADD CONSTRAINT progress_pkey PRIMARY KEY (lane);
ALTER TABLE ONLY search_registry.generations
    ADD CONSTRAINT generations_pkey PRIMARY KEY (number);
ALTER TABLE ONLY search_registry.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (name);
CREATE INDEX customers_words ON search.customers USING gin (words);
CREATE INDEX held_due ON search.held USING btree (due_at) WHERE (due_at IS NOT NULL);
CREATE INDEX orders_by_customer ON search.orders USING btree (customer_id);
CREATE INDEX orders_unnamed ON search.orders USING gin (unnamed) WITH (gin_pending_list_limit='64');
CREATE INDEX orders_words ON search.orders USING gin (words) WITH (fastupdate='on');
CREATE INDEX products_by_category ON search.products USING btree (category);
CREATE INDEX products_name_trigrams ON search.products USING gin (name public.gin_trgm_ops);
CREATE INDEX products_words ON search.products USING gin (words);
CREATE INDEX customers_words ON search_2.customers USING gin (words);
CREATE INDEX held_due ON search_2.held USING btree (due_at) WHERE (due_at IS NOT NULL);
CREATE INDEX orders_by_customer ON search_2.orders USING btree (customer_id);
CREATE INDEX orders_unnamed ON search_2.orders USING gin (unnamed) WITH (gin_pending_list_limit='64');
CREATE INDEX orders_words ON search_2.orders USING gin (words) WITH (fastupdate='on');
CREATE INDEX products_by_category ON search_2.products USING btree (category);
CREATE INDEX products_name_trigrams ON search_2.products USING gin (name public.gin_trgm_ops);
CREATE INDEX products_words ON search_2.products USING gin (words);
CREATE UNIQUE INDEX one_generation_is_active ON search_registry.generations USING btree (active) WHERE active;
GRANT ALL ON SCHEMA public TO tidemark;
GRANT USAGE ON SCHEMA search TO tidemark_reader;
GRANT USAGE ON SCHEMA search_2 TO tidemark_reader;
GRANT USAGE ON SCHEMA search_registry TO tidemark_reader;
GRANT SELECT ON TABLE search.customers TO tidemark_reader;
GRANT SELECT ON TABLE search.discarded TO tidemark_reader;
GRANT SELECT ON TABLE search.held TO tidemark_reader;
GRANT SELECT ON TABLE search.migrations TO tidemark_reader;
GRANT SELECT ON TABLE search.orders TO tidemark_reader;
GRANT SELECT ON TABLE search.positions TO tidemark_reader;
GRANT SELECT ON TABLE search.products TO tidemark_reader;
GRANT SELECT ON TABLE search.progress TO tidemark_reader;
GRANT SELECT ON TABLE search_2.customers TO tidemark_reader;
GRANT SELECT ON TABLE search_2.discarded TO tidemark_reader;
GRANT SELECT ON TABLE search_2.held TO tidemark_reader;
GRANT SELECT ON TABLE search_2.migrations TO tidemark_reader;
GRANT SELECT ON TABLE search_2.orders TO tidemark_reader;
GRANT SELECT ON TABLE search_2.positions TO tidemark_reader;
GRANT SELECT ON TABLE search_2.products TO tidemark_reader;
GRANT SELECT ON TABLE search_2.progress TO tidemark_reader;
GRANT SELECT ON TABLE search_registry.generations TO tidemark_reader;
GRANT SELECT ON TABLE search_registry.migrations TO tidemark_reader;
