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
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.claims (
    scope text NOT NULL,
    value text NOT NULL,
    stream text NOT NULL
);
CREATE TABLE public.commands (
    command_id text NOT NULL,
    command_type text NOT NULL,
    body_hash bytea NOT NULL,
    outcome json NOT NULL,
    decided_at timestamp with time zone NOT NULL
);
CREATE TABLE public.epochs (
    number bigint NOT NULL,
    epoch text NOT NULL,
    begun_at timestamp with time zone DEFAULT now() NOT NULL,
    reason text NOT NULL,
    system_identifier bigint NOT NULL,
    timeline bigint NOT NULL,
    database_oid oid NOT NULL,
    table_oid oid NOT NULL,
    actor text
);
ALTER TABLE public.epochs ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.epochs_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.events (
    stream text NOT NULL,
    version bigint NOT NULL,
    envelope json NOT NULL,
    epoch bigint,
    CONSTRAINT events_version_check CHECK ((version > 0))
);
CREATE TABLE public.migrations (
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.outbox (
    id bigint NOT NULL,
    stream text NOT NULL,
    hash bigint NOT NULL,
    type text NOT NULL,
    envelope text NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='20000', autovacuum_vacuum_cost_delay='0');
ALTER TABLE public.outbox ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.outbox_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.streams (
    stream text NOT NULL,
    kind text NOT NULL,
    version bigint NOT NULL,
    state json NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT streams_version_check CHECK ((version > 0))
);
COPY public.claims (scope, value, stream) FROM stdin;
customer-email	k0@example.org	customers/k-0
customer-email	k1@example.org	customers/k-1
customer-email	k2@example.org	customers/k-2
customer-email	k3@example.org	customers/k-3
sku	sku-0	products/p-0
sku	sku-1	products/p-1
sku	sku-2	products/p-2
sku	sku-3	products/p-3
review:p-1	r-1	products/p-1
\.
COPY public.commands (command_id, command_type, body_hash, outcome, decided_at) FROM stdin;
c-1	customers.register-customer	\\xabf0d3224ecc1140e9aeb087c297706df6b6fd0df2c30567f9987042fcace210	{"specversion":"1.0","id":"c-1/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"customers/k-0","time":"2026-11-30T12:29:38.083947Z","datacontenttype":"application/json","data":{"command_id":"c-1","command_type":"customers.register-customer","stream":"customers/k-0","version":1,"events":["customers.customer-registered"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.083947+00
c-2	customers.register-customer	\\xe3146fa9833d6c8d6e00196beb450cee43ab2c21453f1e97a6404043e749e498	{"specversion":"1.0","id":"c-2/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"customers/k-1","time":"2026-11-30T12:29:38.152850Z","datacontenttype":"application/json","data":{"command_id":"c-2","command_type":"customers.register-customer","stream":"customers/k-1","version":1,"events":["customers.customer-registered"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.15285+00
c-3	customers.register-customer	\\xc659b0e0b90c8892ce9b6cc8f7450a4a9f7c14cbc391b94752c65f7952e9ef89	{"specversion":"1.0","id":"c-3/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"customers/k-2","time":"2026-11-30T12:29:38.185119Z","datacontenttype":"application/json","data":{"command_id":"c-3","command_type":"customers.register-customer","stream":"customers/k-2","version":1,"events":["customers.customer-registered"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.185119+00
c-4	customers.register-customer	\\xa4e244520fb338dcadf6b8436b69666067d0ce533d4f6a64728a2a774a993b9f	{"specversion":"1.0","id":"c-4/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"customers/k-3","time":"2026-11-30T12:29:38.215066Z","datacontenttype":"application/json","data":{"command_id":"c-4","command_type":"customers.register-customer","stream":"customers/k-3","version":1,"events":["customers.customer-registered"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.215066+00
c-5	customers.rename-customer	\\x63d9f1d41632b58de19b0602140a441e3526c6b47871141d40c6666ab0b049a5	{"specversion":"1.0","id":"c-5/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"customers/k-1","time":"2026-11-30T12:29:38.242291Z","datacontenttype":"application/json","data":{"command_id":"c-5","command_type":"customers.rename-customer","stream":"customers/k-1","version":2,"events":["customers.customer-renamed"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.242291+00
c-6	catalog.create-product	\\xbf22efad873f9511d69ed843418d56f18bf03a71ffe1562d5cd375b0103d3be7	{"specversion":"1.0","id":"c-6/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"products/p-0","time":"2026-11-30T12:29:38.267471Z","datacontenttype":"application/json","data":{"command_id":"c-6","command_type":"catalog.create-product","stream":"products/p-0","version":1,"events":["catalog.product-created"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.267471+00
c-7	catalog.create-product	\\x1cc3dbe518a549084604ace06defc2660a7515313bbb57ceef912ad56fab84e3	{"specversion":"1.0","id":"c-7/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"products/p-1","time":"2026-11-30T12:29:38.316856Z","datacontenttype":"application/json","data":{"command_id":"c-7","command_type":"catalog.create-product","stream":"products/p-1","version":1,"events":["catalog.product-created"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.316856+00
c-8	catalog.create-product	\\x8d5792775a1e116ba24b08da6f172a1bb0837a45961a4423b4cf8a548fa13e36	{"specversion":"1.0","id":"c-8/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"products/p-2","time":"2026-11-30T12:29:38.350226Z","datacontenttype":"application/json","data":{"command_id":"c-8","command_type":"catalog.create-product","stream":"products/p-2","version":1,"events":["catalog.product-created"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.350226+00
c-9	catalog.create-product	\\xc3ff89252ca3b1e031e84e100d66c58955ee3f9c4d5cd9af01b0291df3d1d313	{"specversion":"1.0","id":"c-9/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"products/p-3","time":"2026-11-30T12:29:38.371543Z","datacontenttype":"application/json","data":{"command_id":"c-9","command_type":"catalog.create-product","stream":"products/p-3","version":1,"events":["catalog.product-created"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.371543+00
c-10	catalog.change-price	\\x342b7abbe505b8aa786347c0dcce140394c5276864277b3aade50ab9f4521328	{"specversion":"1.0","id":"c-10/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"products/p-1","time":"2026-11-30T12:29:38.390816Z","datacontenttype":"application/json","data":{"command_id":"c-10","command_type":"catalog.change-price","stream":"products/p-1","version":2,"events":["catalog.price-changed"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.390816+00
c-11	catalog.receive-stock	\\xd4e33aa5c22cb1790bfb563ffa6ed3ec2a0154cf1772d376d3a586d5abb4d300	{"specversion":"1.0","id":"c-11/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"products/p-1","time":"2026-11-30T12:29:38.415393Z","datacontenttype":"application/json","data":{"command_id":"c-11","command_type":"catalog.receive-stock","stream":"products/p-1","version":3,"events":["catalog.stock-received"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.415393+00
c-12	catalog.add-review	\\x45593e9d09011d12968b6c6af607fadf5d4c7e6294fdb2927b83aeffd380db01	{"specversion":"1.0","id":"c-12/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"products/p-1","time":"2026-11-30T12:29:38.429430Z","datacontenttype":"application/json","data":{"command_id":"c-12","command_type":"catalog.add-review","stream":"products/p-1","version":4,"events":["catalog.review-added"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.42943+00
c-13	orders.place-order	\\x4e87a485f88df6d15caf30cea86b4969220fde894c0917e31777d82eefde2df7	{"specversion":"1.0","id":"c-13/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"orders/o-0","time":"2026-11-30T12:29:38.440467Z","datacontenttype":"application/json","data":{"command_id":"c-13","command_type":"orders.place-order","stream":"orders/o-0","version":1,"events":["orders.order-placed"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.440467+00
c-14	orders.place-order	\\x3f36634e49a13a4b45c0f7f36d5ada76a09e6049b0a7783ef18b547a35336ff7	{"specversion":"1.0","id":"c-14/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"orders/o-1","time":"2026-11-30T12:29:38.459921Z","datacontenttype":"application/json","data":{"command_id":"c-14","command_type":"orders.place-order","stream":"orders/o-1","version":1,"events":["orders.order-placed"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.459921+00
c-15	orders.place-order	\\x9838d37a36a08987179530daffa46d96d7d87de7428027b81469f051d21782fd	{"specversion":"1.0","id":"c-15/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"orders/o-2","time":"2026-11-30T12:29:38.471507Z","datacontenttype":"application/json","data":{"command_id":"c-15","command_type":"orders.place-order","stream":"orders/o-2","version":1,"events":["orders.order-placed"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.471507+00
c-16	orders.place-order	\\xee8de3593e5061f4dd168235fa0a1b0b23e603999500cfe4c5d4b8d726fc980f	{"specversion":"1.0","id":"c-16/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"orders/o-3","time":"2026-11-30T12:29:38.483949Z","datacontenttype":"application/json","data":{"command_id":"c-16","command_type":"orders.place-order","stream":"orders/o-3","version":1,"events":["orders.order-placed"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.483949+00
c-17	orders.place-order	\\xf3b51c7497bb6651dfc7b225b3bad8e91ee1b7fd7eb9910bf7d63a2e2114f83b	{"specversion":"1.0","id":"c-17/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"orders/o-4","time":"2026-11-30T12:29:38.495364Z","datacontenttype":"application/json","data":{"command_id":"c-17","command_type":"orders.place-order","stream":"orders/o-4","version":1,"events":["orders.order-placed"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.495364+00
c-18	orders.place-order	\\x98effbc8c0d28b27e2d2615d390587b24a3d52ed2f3a070eaa7b0d27367236ee	{"specversion":"1.0","id":"c-18/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"orders/o-5","time":"2026-11-30T12:29:38.536322Z","datacontenttype":"application/json","data":{"command_id":"c-18","command_type":"orders.place-order","stream":"orders/o-5","version":1,"events":["orders.order-placed"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.536322+00
c-19	orders.place-order	\\xb42540f2409841a97fc17bf3579a995d0103804700103fa0a9dcbec6b11ec963	{"specversion":"1.0","id":"c-19/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"orders/o-6","time":"2026-11-30T12:29:38.576797Z","datacontenttype":"application/json","data":{"command_id":"c-19","command_type":"orders.place-order","stream":"orders/o-6","version":1,"events":["orders.order-placed"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.576797+00
c-20	orders.place-order	\\x7616b831fcf67d1631feefa8fdc7d9514a1e3255cc6dd1e4c1c208132fd32061	{"specversion":"1.0","id":"c-20/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"orders/o-7","time":"2026-11-30T12:29:38.597226Z","datacontenttype":"application/json","data":{"command_id":"c-20","command_type":"orders.place-order","stream":"orders/o-7","version":1,"events":["orders.order-placed"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.597226+00
c-21	orders.place-order	\\xb0acff083917d2ad28e7d663b366f50b6b273949d58955898def91c3839f5cc8	{"specversion":"1.0","id":"c-21/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"orders/o-8","time":"2026-11-30T12:29:38.620062Z","datacontenttype":"application/json","data":{"command_id":"c-21","command_type":"orders.place-order","stream":"orders/o-8","version":1,"events":["orders.order-placed"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.620062+00
c-22	orders.place-order	\\xee5fe35fc26c80d99769db83aa24a1fcf2b6aecbd8baaca8658c3b9320d63534	{"specversion":"1.0","id":"c-22/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"orders/o-9","time":"2026-11-30T12:29:38.647482Z","datacontenttype":"application/json","data":{"command_id":"c-22","command_type":"orders.place-order","stream":"orders/o-9","version":1,"events":["orders.order-placed"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.647482+00
c-23	orders.pay-order	\\x6acb60b89e158d762b5b5d8695ec84ea346f082ab178c631c288d05f2e673285	{"specversion":"1.0","id":"c-23/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"orders/o-0","time":"2026-11-30T12:29:38.692505Z","datacontenttype":"application/json","data":{"command_id":"c-23","command_type":"orders.pay-order","stream":"orders/o-0","version":2,"events":["orders.order-paid"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.692505+00
c-24	orders.pay-order	\\x7b6492d0358ee592ccb26e4cabc9b3cea948112965554c7c61d10711aa145e5d	{"specversion":"1.0","id":"c-24/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"orders/o-1","time":"2026-11-30T12:29:38.713268Z","datacontenttype":"application/json","data":{"command_id":"c-24","command_type":"orders.pay-order","stream":"orders/o-1","version":2,"events":["orders.order-paid"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.713268+00
c-25	orders.pay-order	\\xc379bc9ac0d42fb83518e4e30c45453d793d7946c832e8251b045853d51f2bb7	{"specversion":"1.0","id":"c-25/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"orders/o-2","time":"2026-11-30T12:29:38.732534Z","datacontenttype":"application/json","data":{"command_id":"c-25","command_type":"orders.pay-order","stream":"orders/o-2","version":2,"events":["orders.order-paid"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.732534+00
c-26	orders.pay-order	\\xc67c09e73604bdd16983e4fb0a7c8ff89768ae127f1a13774f361feb581c7026	{"specversion":"1.0","id":"c-26/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"orders/o-3","time":"2026-11-30T12:29:38.768617Z","datacontenttype":"application/json","data":{"command_id":"c-26","command_type":"orders.pay-order","stream":"orders/o-3","version":2,"events":["orders.order-paid"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.768617+00
c-27	orders.pay-order	\\x0db7a8affa06a96fa1035d1538b767acbf28a9f85ace7fe1a996c78cc8e7cceb	{"specversion":"1.0","id":"c-27/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"orders/o-4","time":"2026-11-30T12:29:38.788722Z","datacontenttype":"application/json","data":{"command_id":"c-27","command_type":"orders.pay-order","stream":"orders/o-4","version":2,"events":["orders.order-paid"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.788722+00
c-28	orders.pay-order	\\x06bd6400dc43932a6627dab69f07a14df7fb81766a184b0da0570e82c3ec8562	{"specversion":"1.0","id":"c-28/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"orders/o-5","time":"2026-11-30T12:29:38.818265Z","datacontenttype":"application/json","data":{"command_id":"c-28","command_type":"orders.pay-order","stream":"orders/o-5","version":2,"events":["orders.order-paid"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.818265+00
c-29	orders.pay-order	\\x02cf75b0dc7b208c337efbc8361b882a94fd4f60c6f3870955d1fa693e801965	{"specversion":"1.0","id":"c-29/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"orders/o-6","time":"2026-11-30T12:29:38.827963Z","datacontenttype":"application/json","data":{"command_id":"c-29","command_type":"orders.pay-order","stream":"orders/o-6","version":2,"events":["orders.order-paid"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.827963+00
c-30	orders.pay-order	\\xbd5ea522988fffef4e17cde4474b1e34d8bbfbbfc17d5280e42765834b3ca97b	{"specversion":"1.0","id":"c-30/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"orders/o-7","time":"2026-11-30T12:29:38.854661Z","datacontenttype":"application/json","data":{"command_id":"c-30","command_type":"orders.pay-order","stream":"orders/o-7","version":2,"events":["orders.order-paid"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.854661+00
c-31	orders.ship-order	\\xa67cfd161e7c9b78177c312a5c5046bbc787f460979b15072c8bf15ece306c94	{"specversion":"1.0","id":"c-31/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"orders/o-0","time":"2026-11-30T12:29:38.874620Z","datacontenttype":"application/json","data":{"command_id":"c-31","command_type":"orders.ship-order","stream":"orders/o-0","version":3,"events":["orders.order-shipped"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.87462+00
c-32	orders.deliver-order	\\xf679f2da3f8ef9462afadc636577d346d2a76945898f69797da85fe3d9e4da3c	{"specversion":"1.0","id":"c-32/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"orders/o-0","time":"2026-11-30T12:29:38.900585Z","datacontenttype":"application/json","data":{"command_id":"c-32","command_type":"orders.deliver-order","stream":"orders/o-0","version":4,"events":["orders.order-delivered"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.900585+00
c-33	orders.ship-order	\\xd103cc1bf7aa49f457a1673ac64ba25cb4aa452062d36af1ccf68ad93620197a	{"specversion":"1.0","id":"c-33/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"orders/o-1","time":"2026-11-30T12:29:38.926759Z","datacontenttype":"application/json","data":{"command_id":"c-33","command_type":"orders.ship-order","stream":"orders/o-1","version":3,"events":["orders.order-shipped"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.926759+00
c-34	orders.cancel-order	\\xd6cbb4a8b1ed39a436d53179f6d8b047ab2963887d5ec2403af9219fb4591567	{"specversion":"1.0","id":"c-34/outcome","source":"tidemark/command-service","type":"command.accepted","subject":"orders/o-2","time":"2026-11-30T12:29:38.943351Z","datacontenttype":"application/json","data":{"command_id":"c-34","command_type":"orders.cancel-order","stream":"orders/o-2","version":3,"events":["orders.order-cancelled"],"epoch":"03c76b33548b40d890046037ad5a3c5d"}}	2026-11-30 12:29:38.943351+00
\.
COPY public.epochs (number, epoch, begun_at, reason, system_identifier, timeline, database_oid, table_oid, actor) FROM stdin;
1	03c76b33548b40d890046037ad5a3c5d	2026-11-30 12:29:34.925461+00	the first	7713940628193838922	1	16386	16438	\N
\.
COPY public.events (stream, version, envelope, epoch) FROM stdin;
customers/k-0	1	{"specversion":"1.0","id":"customers/k-0@1","source":"tidemark/command-service","type":"customers.customer-registered","subject":"customers/k-0","time":"2026-11-30T12:29:38.083947Z","datacontenttype":"application/json","data":{"customer_id":"k-0","name":"Customer 0","email":"k0@example.org","registered_at":"2026-11-30T12:29:38.083947Z"},"streamversion":1,"schemaversion":1,"causationid":"c-1","correlationid":"7b96bf30743a4efeb518f09efbe0e321"}	1
customers/k-1	1	{"specversion":"1.0","id":"customers/k-1@1","source":"tidemark/command-service","type":"customers.customer-registered","subject":"customers/k-1","time":"2026-11-30T12:29:38.152850Z","datacontenttype":"application/json","data":{"customer_id":"k-1","name":"Customer 1","email":"k1@example.org","registered_at":"2026-11-30T12:29:38.152850Z"},"streamversion":1,"schemaversion":1,"causationid":"c-2","correlationid":"ac5193cc8fbb45a2ac36ea746f8be6d7"}	1
customers/k-2	1	{"specversion":"1.0","id":"customers/k-2@1","source":"tidemark/command-service","type":"customers.customer-registered","subject":"customers/k-2","time":"2026-11-30T12:29:38.185119Z","datacontenttype":"application/json","data":{"customer_id":"k-2","name":"Customer 2","email":"k2@example.org","registered_at":"2026-11-30T12:29:38.185119Z"},"streamversion":1,"schemaversion":1,"causationid":"c-3","correlationid":"fb8919b95bdc427591aba6c88e2cba26"}	1
customers/k-3	1	{"specversion":"1.0","id":"customers/k-3@1","source":"tidemark/command-service","type":"customers.customer-registered","subject":"customers/k-3","time":"2026-11-30T12:29:38.215066Z","datacontenttype":"application/json","data":{"customer_id":"k-3","name":"Customer 3","email":"k3@example.org","registered_at":"2026-11-30T12:29:38.215066Z"},"streamversion":1,"schemaversion":1,"causationid":"c-4","correlationid":"b8837da780164cdfb04a9ace4208ec61"}	1
customers/k-1	2	{"specversion":"1.0","id":"customers/k-1@2","source":"tidemark/command-service","type":"customers.customer-renamed","subject":"customers/k-1","time":"2026-11-30T12:29:38.242291Z","datacontenttype":"application/json","data":{"customer_id":"k-1","name":"Renamed 1","previous_name":"Customer 1","renamed_at":"2026-11-30T12:29:38.242291Z"},"streamversion":2,"schemaversion":1,"causationid":"c-5","correlationid":"a5c374c28e1e49ce85752bd9f37ae971"}	1
products/p-0	1	{"specversion":"1.0","id":"products/p-0@1","source":"tidemark/command-service","type":"catalog.product-created","subject":"products/p-0","time":"2026-11-30T12:29:38.267471Z","datacontenttype":"application/json","data":{"product_id":"p-0","name":"Mug 0 RED/GREEN","category":"mugs","price":100,"currency":"EUR","variants":[{"sku":"sku-0","size":"S"}],"created_at":"2026-11-30T12:29:38.267471Z"},"streamversion":1,"schemaversion":1,"causationid":"c-6","correlationid":"5158e19092af45af942cacd6ad4ce74f"}	1
products/p-1	1	{"specversion":"1.0","id":"products/p-1@1","source":"tidemark/command-service","type":"catalog.product-created","subject":"products/p-1","time":"2026-11-30T12:29:38.316856Z","datacontenttype":"application/json","data":{"product_id":"p-1","name":"Mug 1 RED/GREEN","category":"mugs","price":101,"currency":"EUR","variants":[{"sku":"sku-1","size":"S"}],"created_at":"2026-11-30T12:29:38.316856Z"},"streamversion":1,"schemaversion":1,"causationid":"c-7","correlationid":"2d572a18b58b4183a27d37792ca63ea5"}	1
products/p-2	1	{"specversion":"1.0","id":"products/p-2@1","source":"tidemark/command-service","type":"catalog.product-created","subject":"products/p-2","time":"2026-11-30T12:29:38.350226Z","datacontenttype":"application/json","data":{"product_id":"p-2","name":"Mug 2 RED/GREEN","category":"mugs","price":102,"currency":"EUR","variants":[{"sku":"sku-2","size":"S"}],"created_at":"2026-11-30T12:29:38.350226Z"},"streamversion":1,"schemaversion":1,"causationid":"c-8","correlationid":"7d94b5bb0475462d88495f0442a331c7"}	1
products/p-3	1	{"specversion":"1.0","id":"products/p-3@1","source":"tidemark/command-service","type":"catalog.product-created","subject":"products/p-3","time":"2026-11-30T12:29:38.371543Z","datacontenttype":"application/json","data":{"product_id":"p-3","name":"Mug 3 RED/GREEN","category":"mugs","price":103,"currency":"EUR","variants":[{"sku":"sku-3","size":"S"}],"created_at":"2026-11-30T12:29:38.371543Z"},"streamversion":1,"schemaversion":1,"causationid":"c-9","correlationid":"ecfa6dca387844aaa79ae7f4f82a44cb"}	1
products/p-1	2	{"specversion":"1.0","id":"products/p-1@2","source":"tidemark/command-service","type":"catalog.price-changed","subject":"products/p-1","time":"2026-11-30T12:29:38.390816Z","datacontenttype":"application/json","data":{"product_id":"p-1","previous_price":101,"price":250,"currency":"EUR","changed_at":"2026-11-30T12:29:38.390816Z"},"streamversion":2,"schemaversion":1,"causationid":"c-10","correlationid":"9098d6bcfe29403d9f327fec331d4cc2"}	1
products/p-1	3	{"specversion":"1.0","id":"products/p-1@3","source":"tidemark/command-service","type":"catalog.stock-received","subject":"products/p-1","time":"2026-11-30T12:29:38.415393Z","datacontenttype":"application/json","data":{"product_id":"p-1","quantity":7,"stock":7,"received_at":"2026-11-30T12:29:38.415393Z"},"streamversion":3,"schemaversion":1,"causationid":"c-11","correlationid":"6185d39d3c314ea295d081fd66a9492d"}	1
products/p-1	4	{"specversion":"1.0","id":"products/p-1@4","source":"tidemark/command-service","type":"catalog.review-added","subject":"products/p-1","time":"2026-11-30T12:29:38.429430Z","datacontenttype":"application/json","data":{"product_id":"p-1","review_id":"r-1","rating":4,"review_count":1,"rating_sum":4,"added_at":"2026-11-30T12:29:38.429430Z"},"streamversion":4,"schemaversion":1,"causationid":"c-12","correlationid":"9c3f8a1bacf84f95913a1e85fd02bb0c"}	1
orders/o-0	1	{"specversion":"1.0","id":"orders/o-0@1","source":"tidemark/command-service","type":"orders.order-placed","subject":"orders/o-0","time":"2026-11-30T12:29:38.440467Z","datacontenttype":"application/json","data":{"order_id":"o-0","customer_id":"k-0","currency":"EUR","lines":[{"product_id":"p-0","name":"Mug 0","quantity":1,"amount":100}],"item_count":1,"total":100,"placed_at":"2026-01-01T10:00:00Z"},"streamversion":1,"schemaversion":2,"causationid":"c-13","correlationid":"1437eee8adaa4409a8f385a786585083"}	1
orders/o-1	1	{"specversion":"1.0","id":"orders/o-1@1","source":"tidemark/command-service","type":"orders.order-placed","subject":"orders/o-1","time":"2026-11-30T12:29:38.459921Z","datacontenttype":"application/json","data":{"order_id":"o-1","customer_id":"k-1","currency":"EUR","lines":[{"product_id":"p-1","name":"Mug 1","quantity":2,"amount":200}],"item_count":2,"total":200,"placed_at":"2026-01-02T10:00:00Z"},"streamversion":1,"schemaversion":2,"causationid":"c-14","correlationid":"f25bb343b2ab43c0be0e6e1a3c6226e8"}	1
orders/o-2	1	{"specversion":"1.0","id":"orders/o-2@1","source":"tidemark/command-service","type":"orders.order-placed","subject":"orders/o-2","time":"2026-11-30T12:29:38.471507Z","datacontenttype":"application/json","data":{"order_id":"o-2","customer_id":"k-2","currency":"EUR","lines":[{"product_id":"p-2","name":"Mug 2","quantity":3,"amount":300}],"item_count":3,"total":300,"placed_at":"2026-01-03T10:00:00Z"},"streamversion":1,"schemaversion":2,"causationid":"c-15","correlationid":"0e079753568346aea448296f4cf851f7"}	1
orders/o-3	1	{"specversion":"1.0","id":"orders/o-3@1","source":"tidemark/command-service","type":"orders.order-placed","subject":"orders/o-3","time":"2026-11-30T12:29:38.483949Z","datacontenttype":"application/json","data":{"order_id":"o-3","customer_id":"k-3","currency":"EUR","lines":[{"product_id":"p-3","name":"Mug 3","quantity":4,"amount":400}],"item_count":4,"total":400,"placed_at":"2026-01-04T10:00:00Z"},"streamversion":1,"schemaversion":2,"causationid":"c-16","correlationid":"90d3087f08bd4dc8807a4e071eadc32e"}	1
orders/o-4	1	{"specversion":"1.0","id":"orders/o-4@1","source":"tidemark/command-service","type":"orders.order-placed","subject":"orders/o-4","time":"2026-11-30T12:29:38.495364Z","datacontenttype":"application/json","data":{"order_id":"o-4","customer_id":"k-0","currency":"EUR","lines":[{"product_id":"p-0","name":"Mug 0","quantity":5,"amount":500}],"item_count":5,"total":500,"placed_at":"2026-01-05T10:00:00Z"},"streamversion":1,"schemaversion":2,"causationid":"c-17","correlationid":"c9080e0acdcd4f93a245636547032bde"}	1
orders/o-5	1	{"specversion":"1.0","id":"orders/o-5@1","source":"tidemark/command-service","type":"orders.order-placed","subject":"orders/o-5","time":"2026-11-30T12:29:38.536322Z","datacontenttype":"application/json","data":{"order_id":"o-5","customer_id":"k-1","currency":"EUR","lines":[{"product_id":"p-1","name":"Mug 1","quantity":6,"amount":600}],"item_count":6,"total":600,"placed_at":"2026-01-06T10:00:00Z"},"streamversion":1,"schemaversion":2,"causationid":"c-18","correlationid":"aa1c3afab3cb4597833090fccd54ecbe"}	1
orders/o-6	1	{"specversion":"1.0","id":"orders/o-6@1","source":"tidemark/command-service","type":"orders.order-placed","subject":"orders/o-6","time":"2026-11-30T12:29:38.576797Z","datacontenttype":"application/json","data":{"order_id":"o-6","customer_id":"k-2","currency":"EUR","lines":[{"product_id":"p-2","name":"Mug 2","quantity":7,"amount":700}],"item_count":7,"total":700,"placed_at":"2026-01-07T10:00:00Z"},"streamversion":1,"schemaversion":2,"causationid":"c-19","correlationid":"6964248f7b404cdb9348914e16bce839"}	1
orders/o-7	1	{"specversion":"1.0","id":"orders/o-7@1","source":"tidemark/command-service","type":"orders.order-placed","subject":"orders/o-7","time":"2026-11-30T12:29:38.597226Z","datacontenttype":"application/json","data":{"order_id":"o-7","customer_id":"k-3","currency":"EUR","lines":[{"product_id":"p-3","name":"Mug 3","quantity":8,"amount":800}],"item_count":8,"total":800,"placed_at":"2026-01-08T10:00:00Z"},"streamversion":1,"schemaversion":2,"causationid":"c-20","correlationid":"8bc694866cf84e4cbb40ca7fa79916ac"}	1
orders/o-8	1	{"specversion":"1.0","id":"orders/o-8@1","source":"tidemark/command-service","type":"orders.order-placed","subject":"orders/o-8","time":"2026-11-30T12:29:38.620062Z","datacontenttype":"application/json","data":{"order_id":"o-8","customer_id":"k-0","currency":"EUR","lines":[{"product_id":"p-0","name":"Mug 0","quantity":9,"amount":900}],"item_count":9,"total":900,"placed_at":"2026-01-09T10:00:00Z"},"streamversion":1,"schemaversion":2,"causationid":"c-21","correlationid":"17675970f69a41eeb5f8c8041ddc8a93"}	1
orders/o-9	1	{"specversion":"1.0","id":"orders/o-9@1","source":"tidemark/command-service","type":"orders.order-placed","subject":"orders/o-9","time":"2026-11-30T12:29:38.647482Z","datacontenttype":"application/json","data":{"order_id":"o-9","customer_id":"k-1","currency":"EUR","lines":[{"product_id":"p-1","name":"Mug 1","quantity":10,"amount":1000}],"item_count":10,"total":1000,"placed_at":"2026-01-10T10:00:00Z"},"streamversion":1,"schemaversion":2,"causationid":"c-22","correlationid":"02669bd736db47b5af3a090fd3b74d04"}	1
orders/o-0	2	{"specversion":"1.0","id":"orders/o-0@2","source":"tidemark/command-service","type":"orders.order-paid","subject":"orders/o-0","time":"2026-11-30T12:29:38.692505Z","datacontenttype":"application/json","data":{"order_id":"o-0","customer_id":"k-0","amount":100,"currency":"EUR","paid_at":"2026-11-30T12:29:38.692505Z"},"streamversion":2,"schemaversion":1,"causationid":"c-23","correlationid":"410155dffa574434a5a96cf0f6ed6696"}	1
orders/o-1	2	{"specversion":"1.0","id":"orders/o-1@2","source":"tidemark/command-service","type":"orders.order-paid","subject":"orders/o-1","time":"2026-11-30T12:29:38.713268Z","datacontenttype":"application/json","data":{"order_id":"o-1","customer_id":"k-1","amount":200,"currency":"EUR","paid_at":"2026-11-30T12:29:38.713268Z"},"streamversion":2,"schemaversion":1,"causationid":"c-24","correlationid":"390065f345b54bcb980096dd389cbe78"}	1
orders/o-2	2	{"specversion":"1.0","id":"orders/o-2@2","source":"tidemark/command-service","type":"orders.order-paid","subject":"orders/o-2","time":"2026-11-30T12:29:38.732534Z","datacontenttype":"application/json","data":{"order_id":"o-2","customer_id":"k-2","amount":300,"currency":"EUR","paid_at":"2026-11-30T12:29:38.732534Z"},"streamversion":2,"schemaversion":1,"causationid":"c-25","correlationid":"396295f9983b403c963fed6796eae2cd"}	1
orders/o-3	2	{"specversion":"1.0","id":"orders/o-3@2","source":"tidemark/command-service","type":"orders.order-paid","subject":"orders/o-3","time":"2026-11-30T12:29:38.768617Z","datacontenttype":"application/json","data":{"order_id":"o-3","customer_id":"k-3","amount":400,"currency":"EUR","paid_at":"2026-11-30T12:29:38.768617Z"},"streamversion":2,"schemaversion":1,"causationid":"c-26","correlationid":"abb4824dc10b4db4b14718580f36619d"}	1
orders/o-4	2	{"specversion":"1.0","id":"orders/o-4@2","source":"tidemark/command-service","type":"orders.order-paid","subject":"orders/o-4","time":"2026-11-30T12:29:38.788722Z","datacontenttype":"application/json","data":{"order_id":"o-4","customer_id":"k-0","amount":500,"currency":"EUR","paid_at":"2026-11-30T12:29:38.788722Z"},"streamversion":2,"schemaversion":1,"causationid":"c-27","correlationid":"ee62d4ceb38a453d8654d34680363a46"}	1
orders/o-5	2	{"specversion":"1.0","id":"orders/o-5@2","source":"tidemark/command-service","type":"orders.order-paid","subject":"orders/o-5","time":"2026-11-30T12:29:38.818265Z","datacontenttype":"application/json","data":{"order_id":"o-5","customer_id":"k-1","amount":600,"currency":"EUR","paid_at":"2026-11-30T12:29:38.818265Z"},"streamversion":2,"schemaversion":1,"causationid":"c-28","correlationid":"7ef3df43d8e944dbbcf5e0b0f703f68e"}	1
orders/o-6	2	{"specversion":"1.0","id":"orders/o-6@2","source":"tidemark/command-service","type":"orders.order-paid","subject":"orders/o-6","time":"2026-11-30T12:29:38.827963Z","datacontenttype":"application/json","data":{"order_id":"o-6","customer_id":"k-2","amount":700,"currency":"EUR","paid_at":"2026-11-30T12:29:38.827963Z"},"streamversion":2,"schemaversion":1,"causationid":"c-29","correlationid":"e8fdd9fbbdd94ca48532089300faf833"}	1
orders/o-7	2	{"specversion":"1.0","id":"orders/o-7@2","source":"tidemark/command-service","type":"orders.order-paid","subject":"orders/o-7","time":"2026-11-30T12:29:38.854661Z","datacontenttype":"application/json","data":{"order_id":"o-7","customer_id":"k-3","amount":800,"currency":"EUR","paid_at":"2026-11-30T12:29:38.854661Z"},"streamversion":2,"schemaversion":1,"causationid":"c-30","correlationid":"83559bfe430e4956b28899ee39e4f6b2"}	1
orders/o-0	3	{"specversion":"1.0","id":"orders/o-0@3","source":"tidemark/command-service","type":"orders.order-shipped","subject":"orders/o-0","time":"2026-11-30T12:29:38.874620Z","datacontenttype":"application/json","data":{"order_id":"o-0","carrier":"post","shipped_at":"2026-11-30T12:29:38.874620Z"},"streamversion":3,"schemaversion":1,"causationid":"c-31","correlationid":"84093bfb6e66406d88a23c7edfdde349"}	1
orders/o-0	4	{"specversion":"1.0","id":"orders/o-0@4","source":"tidemark/command-service","type":"orders.order-delivered","subject":"orders/o-0","time":"2026-11-30T12:29:38.900585Z","datacontenttype":"application/json","data":{"order_id":"o-0","delivered_at":"2026-11-30T12:29:38.900585Z"},"streamversion":4,"schemaversion":1,"causationid":"c-32","correlationid":"ace6e02d9ae44a6cbdf288fa1e10dd0b"}	1
orders/o-1	3	{"specversion":"1.0","id":"orders/o-1@3","source":"tidemark/command-service","type":"orders.order-shipped","subject":"orders/o-1","time":"2026-11-30T12:29:38.926759Z","datacontenttype":"application/json","data":{"order_id":"o-1","shipped_at":"2026-11-30T12:29:38.926759Z"},"streamversion":3,"schemaversion":1,"causationid":"c-33","correlationid":"95f311e754654133a5a52c6d5090e298"}	1
orders/o-2	3	{"specversion":"1.0","id":"orders/o-2@3","source":"tidemark/command-service","type":"orders.order-cancelled","subject":"orders/o-2","time":"2026-11-30T12:29:38.943351Z","datacontenttype":"application/json","data":{"order_id":"o-2","customer_id":"k-2","currency":"EUR","lines":[{"product_id":"p-2","name":"Mug 2","quantity":3,"amount":300}],"item_count":3,"total":300,"placed_at":"2026-01-03T10:00:00Z","reason":"no longer wanted","cancelled_at":"2026-11-30T12:29:38.943351Z"},"streamversion":3,"schemaversion":1,"causationid":"c-34","correlationid":"560151a0bb9f4557a753deec9b5d9bdd"}	1
\.
COPY public.migrations (name, applied_at) FROM stdin;
0001_event_store.sql	2026-11-30 12:29:26.525459+00
0002_heads.sql	2026-11-30 12:29:26.525459+00
0003_epochs.sql	2026-11-30 12:29:26.525459+00
0004_who_began_an_epoch.sql	2026-11-30 12:29:26.525459+00
\.
COPY public.outbox (id, stream, hash, type, envelope) FROM stdin;
\.
COPY public.streams (stream, kind, version, state, updated_at) FROM stdin;
customers/k-0	customers	1	{"customer_id":"k-0","name":"Customer 0","email":"k0@example.org"}	2026-11-30 12:29:38.086889+00
customers/k-2	customers	1	{"customer_id":"k-2","name":"Customer 2","email":"k2@example.org"}	2026-11-30 12:29:38.196412+00
customers/k-3	customers	1	{"customer_id":"k-3","name":"Customer 3","email":"k3@example.org"}	2026-11-30 12:29:38.221595+00
customers/k-1	customers	2	{"customer_id":"k-1","name":"Renamed 1","email":"k1@example.org"}	2026-11-30 12:29:38.246628+00
products/p-0	products	1	{"product_id":"p-0","name":"Mug 0 RED/GREEN","description":null,"category":"mugs","brand":null,"price":100,"currency":"EUR","stock":0,"review_count":0,"rating_sum":0}	2026-11-30 12:29:38.29255+00
products/p-2	products	1	{"product_id":"p-2","name":"Mug 2 RED/GREEN","description":null,"category":"mugs","brand":null,"price":102,"currency":"EUR","stock":0,"review_count":0,"rating_sum":0}	2026-11-30 12:29:38.351099+00
products/p-3	products	1	{"product_id":"p-3","name":"Mug 3 RED/GREEN","description":null,"category":"mugs","brand":null,"price":103,"currency":"EUR","stock":0,"review_count":0,"rating_sum":0}	2026-11-30 12:29:38.3724+00
products/p-1	products	4	{"product_id":"p-1","name":"Mug 1 RED/GREEN","description":null,"category":"mugs","brand":null,"price":250,"currency":"EUR","stock":7,"review_count":1,"rating_sum":4}	2026-11-30 12:29:38.431296+00
orders/o-8	orders	1	{"status":"placed","placed":{"order_id":"o-8","customer_id":"k-0","currency":"EUR","lines":[{"product_id":"p-0","name":"Mug 0","quantity":9,"amount":900}],"item_count":9,"total":900,"placed_at":"2026-01-09T10:00:00Z"}}	2026-11-30 12:29:38.63894+00
orders/o-9	orders	1	{"status":"placed","placed":{"order_id":"o-9","customer_id":"k-1","currency":"EUR","lines":[{"product_id":"p-1","name":"Mug 1","quantity":10,"amount":1000}],"item_count":10,"total":1000,"placed_at":"2026-01-10T10:00:00Z"}}	2026-11-30 12:29:38.660332+00
orders/o-3	orders	2	{"status":"paid","placed":{"order_id":"o-3","customer_id":"k-3","currency":"EUR","lines":[{"product_id":"p-3","name":"Mug 3","quantity":4,"amount":400}],"item_count":4,"total":400,"placed_at":"2026-01-04T10:00:00Z"}}	2026-11-30 12:29:38.774439+00
orders/o-4	orders	2	{"status":"paid","placed":{"order_id":"o-4","customer_id":"k-0","currency":"EUR","lines":[{"product_id":"p-0","name":"Mug 0","quantity":5,"amount":500}],"item_count":5,"total":500,"placed_at":"2026-01-05T10:00:00Z"}}	2026-11-30 12:29:38.794955+00
orders/o-5	orders	2	{"status":"paid","placed":{"order_id":"o-5","customer_id":"k-1","currency":"EUR","lines":[{"product_id":"p-1","name":"Mug 1","quantity":6,"amount":600}],"item_count":6,"total":600,"placed_at":"2026-01-06T10:00:00Z"}}	2026-11-30 12:29:38.820565+00
orders/o-6	orders	2	{"status":"paid","placed":{"order_id":"o-6","customer_id":"k-2","currency":"EUR","lines":[{"product_id":"p-2","name":"Mug 2","quantity":7,"amount":700}],"item_count":7,"total":700,"placed_at":"2026-01-07T10:00:00Z"}}	2026-11-30 12:29:38.829332+00
orders/o-7	orders	2	{"status":"paid","placed":{"order_id":"o-7","customer_id":"k-3","currency":"EUR","lines":[{"product_id":"p-3","name":"Mug 3","quantity":8,"amount":800}],"item_count":8,"total":800,"placed_at":"2026-01-08T10:00:00Z"}}	2026-11-30 12:29:38.855655+00
orders/o-0	orders	4	{"status":"delivered","placed":{"order_id":"o-0","customer_id":"k-0","currency":"EUR","lines":[{"product_id":"p-0","name":"Mug 0","quantity":1,"amount":100}],"item_count":1,"total":100,"placed_at":"2026-01-01T10:00:00Z"}}	2026-11-30 12:29:38.903469+00
orders/o-1	orders	3	{"status":"shipped","placed":{"order_id":"o-1","customer_id":"k-1","currency":"EUR","lines":[{"product_id":"p-1","name":"Mug 1","quantity":2,"amount":200}],"item_count":2,"total":200,"placed_at":"2026-01-02T10:00:00Z"}}	2026-11-30 12:29:38.927429+00
orders/o-2	orders	3	{"status":"cancelled","placed":{"order_id":"o-2","customer_id":"k-2","currency":"EUR","lines":[{"product_id":"p-2","name":"Mug 2","quantity":3,"amount":300}],"item_count":3,"total":300,"placed_at":"2026-01-03T10:00:00Z"}}	2026-11-30 12:29:38.952247+00
\.
SELECT pg_catalog.setval('public.epochs_number_seq', 1, true);
SELECT pg_catalog.setval('public.outbox_id_seq', 34, true);
ALTER TABLE ONLY public.claims
    ADD CONSTRAINT claims_pkey PRIMARY KEY (scope, value);
ALTER TABLE ONLY public.commands
    ADD CONSTRAINT commands_pkey PRIMARY KEY (command_id);
ALTER TABLE ONLY public.epochs
    ADD CONSTRAINT epochs_epoch_key UNIQUE (epoch);
ALTER TABLE ONLY public.epochs
    ADD CONSTRAINT epochs_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (stream, version);
ALTER TABLE ONLY public.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.streams
    ADD CONSTRAINT streams_pkey PRIMARY KEY (stream);
CREATE INDEX streams_by_change ON public.streams USING btree (updated_at);
GRANT ALL ON SCHEMA public TO tidemark;
