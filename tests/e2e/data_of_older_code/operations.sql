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
CREATE SCHEMA operations;
CREATE TYPE operations.incoming AS (
	origin text,
	identity bytea,
	stream text,
	version bigint,
	type text,
	command_id text,
	reason text,
	exception text,
	fingerprint text,
	attempts integer,
	first_failed_at timestamp with time zone,
	failed_at timestamp with time zone,
	seen bigint,
	trace_id text,
	routing_key text,
	reply_to text,
	correlation_id text,
	content_type text,
	body bytea,
	headers text,
	trace text
);
CREATE FUNCTION operations.audit_stays() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION 'the audit is append-only: % refused', TG_OP;
END
$$;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE operations.letters (
    id bigint NOT NULL,
    origin text NOT NULL,
    identity bytea NOT NULL,
    stream text,
    version bigint,
    type text,
    command_id text,
    reason text NOT NULL,
    exception text NOT NULL,
    fingerprint text NOT NULL,
    attempts integer NOT NULL,
    first_failed_at timestamp with time zone NOT NULL,
    last_failed_at timestamp with time zone NOT NULL,
    seen bigint,
    trace_id text,
    routing_key text NOT NULL,
    reply_to text,
    correlation_id text,
    content_type text NOT NULL,
    size integer NOT NULL,
    status text DEFAULT 'dead'::text NOT NULL,
    resolved_at timestamp with time zone,
    resolution text,
    replaces bigint,
    replaced_by text,
    live boolean GENERATED ALWAYS AS ((status = ANY (ARRAY['dead'::text, 'replaying'::text]))) STORED,
    CONSTRAINT letters_status_check CHECK ((status = ANY (ARRAY['dead'::text, 'replaying'::text, 'resolved'::text, 'discarded'::text, 'superseded'::text])))
)
WITH (fillfactor='50');
CREATE FUNCTION operations.matching(ids bigint[], an_origin text, a_fingerprint text, a_stream text, a_type text, failed_from timestamp with time zone, failed_to timestamp with time zone, words text) RETURNS SETOF operations.letters
    LANGUAGE sql STABLE
    AS $$
    SELECT * FROM letters
    WHERE (ids IS NULL OR id = ANY (ids))
      AND (an_origin IS NULL OR origin = an_origin)
      AND (a_fingerprint IS NULL OR fingerprint = a_fingerprint)
      AND (a_stream IS NULL OR stream = a_stream)
      AND (a_type IS NULL OR type = a_type)
      AND (failed_from IS NULL OR last_failed_at >= failed_from)
      AND (failed_to IS NULL OR last_failed_at < failed_to)
      AND (words IS NULL OR strpos(lower(exception COLLATE "C"), lower(words COLLATE "C")) > 0
           OR strpos(lower(reason COLLATE "C"), lower(words COLLATE "C")) > 0)
$$;
CREATE TABLE operations.audit (
    id bigint NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    actor text NOT NULL,
    act text NOT NULL,
    reason text NOT NULL,
    letter_id bigint,
    job_id bigint,
    request_id text,
    details jsonb DEFAULT '{}'::jsonb NOT NULL,
    projection text
);
ALTER TABLE operations.audit ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME operations.audit_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE operations.discards (
    letter_id bigint NOT NULL,
    request_id text NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    due_at timestamp with time zone DEFAULT now(),
    asks integer DEFAULT 0 NOT NULL
);
CREATE TABLE operations.job_items (
    job_id bigint NOT NULL,
    ord integer NOT NULL,
    letter_id bigint NOT NULL,
    status text DEFAULT 'queued'::text NOT NULL,
    fingerprint text NOT NULL,
    sent_at timestamp with time zone,
    asked_at timestamp with time zone,
    asks integer DEFAULT 0 NOT NULL,
    outcome text,
    CONSTRAINT job_items_status_check CHECK ((status = ANY (ARRAY['queued'::text, 'sent'::text, 'succeeded'::text, 'failed'::text, 'skipped'::text])))
)
WITH (fillfactor='40');
CREATE TABLE operations.jobs (
    id bigint NOT NULL,
    request_id text NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    selection jsonb NOT NULL,
    rate double precision,
    canary integer NOT NULL,
    concurrency integer NOT NULL,
    stop_after integer,
    state text DEFAULT 'pending'::text NOT NULL,
    why text DEFAULT ''::text NOT NULL,
    canary_over boolean DEFAULT false NOT NULL,
    total integer DEFAULT 0 NOT NULL,
    under_way integer DEFAULT 0 NOT NULL,
    succeeded integer DEFAULT 0 NOT NULL,
    failed integer DEFAULT 0 NOT NULL,
    skipped integer DEFAULT 0 NOT NULL,
    same integer DEFAULT 0 NOT NULL,
    forgiven integer DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    republished_at timestamp with time zone,
    taken integer DEFAULT 0 NOT NULL,
    CONSTRAINT jobs_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'canary'::text, 'running'::text, 'paused'::text, 'stopped'::text, 'completed'::text, 'cancelled'::text])))
);
ALTER TABLE operations.jobs ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME operations.jobs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE operations.letter_failures (
    letter_id bigint NOT NULL,
    failed_at timestamp with time zone NOT NULL,
    attempts integer NOT NULL,
    reason text NOT NULL,
    exception text NOT NULL,
    fingerprint text NOT NULL
);
ALTER TABLE operations.letters ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME operations.letters_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE operations.migrations (
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE operations.payloads (
    letter_id bigint NOT NULL,
    body bytea NOT NULL,
    headers jsonb NOT NULL,
    trace text NOT NULL
);
CREATE TABLE operations.requests (
    request_id text NOT NULL,
    verb text NOT NULL,
    digest bytea NOT NULL,
    answer jsonb NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE operations.resent_commands (
    command_id text NOT NULL,
    letter_id bigint NOT NULL,
    request_id text NOT NULL,
    type text NOT NULL,
    body bytea NOT NULL,
    reply_to text,
    correlation_id text,
    actor text NOT NULL,
    reason text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    published_at timestamp with time zone
);
COPY operations.audit (id, at, actor, act, reason, letter_id, job_id, request_id, details, projection) FROM stdin;
1	2026-11-30 12:29:39.319553+00	t	rebuild	t	\N	\N	48d962259af944e9b6bc1915532c93b6	{"asked_at": "2026-11-30T12:29:39.112203Z", "generation": 2}	search
2	2026-11-30 12:29:39.849526+00	t	rebuild	t	\N	\N	4d9db9f101fe4c8a87440fb9e3bada90	{"asked_at": "2026-11-30T12:29:39.822275Z", "generation": 2}	analytics
3	2026-11-30 12:29:40.167394+00	t	activate		\N	\N	dca91ba4e15440a3990df6a1c5ac571a	{"asked_at": "2026-11-30T12:29:40.150060Z", "generation": 2}	analytics
\.
COPY operations.discards (letter_id, request_id, actor, reason, at, due_at, asks) FROM stdin;
\.
COPY operations.job_items (job_id, ord, letter_id, status, fingerprint, sent_at, asked_at, asks, outcome) FROM stdin;
\.
COPY operations.jobs (id, request_id, actor, reason, selection, rate, canary, concurrency, stop_after, state, why, canary_over, total, under_way, succeeded, failed, skipped, same, forgiven, created_at, started_at, finished_at, republished_at, taken) FROM stdin;
\.
COPY operations.letter_failures (letter_id, failed_at, attempts, reason, exception, fingerprint) FROM stdin;
1	2026-11-30 12:29:38.493163+00	1	projection-failed	DrillError: this stream is poisoned for a drill	DrillError|-|this stream is poisoned for a drill
2	2026-11-30 12:29:38.562766+00	1	projection-failed	DrillError: this stream is poisoned for a drill	DrillError|-|this stream is poisoned for a drill
\.
COPY operations.letters (id, origin, identity, stream, version, type, command_id, reason, exception, fingerprint, attempts, first_failed_at, last_failed_at, seen, trace_id, routing_key, reply_to, correlation_id, content_type, size, status, resolved_at, resolution, replaces, replaced_by) FROM stdin;
1	summary	\\x63664f1591b9c7212673f7e6112ddc37fa7615d4427aaf2962c50bc35e0cde91	orders/o-3	1	orders.order-placed	\N	projection-failed	DrillError: this stream is poisoned for a drill	DrillError|-|this stream is poisoned for a drill	1	2026-11-30 12:29:38.493128+00	2026-11-30 12:29:38.493163+00	1	\N	summary	\N	\N	application/cloudevents+json	508	dead	\N	\N	\N	\N
2	summary	\\xf09387f01edeb17d63f002532eb436dbefa73f52ffb1f3ab2c012b3cde06f6d7	orders/o-5	1	orders.order-placed	\N	projection-failed	DrillError: this stream is poisoned for a drill	DrillError|-|this stream is poisoned for a drill	1	2026-11-30 12:29:38.56273+00	2026-11-30 12:29:38.562766+00	1	\N	summary	\N	\N	application/cloudevents+json	508	dead	\N	\N	\N	\N
\.
COPY operations.migrations (name, applied_at) FROM stdin;
0001_operations.sql	2026-11-30 12:29:27.515115+00
0002_acts_on_generations.sql	2026-11-30 12:29:27.515115+00
0002_replays_in_place.sql	2026-11-30 12:29:27.515115+00
0003_items_of_jobs.sql	2026-11-30 12:29:27.515115+00
0004_items_in_place.sql	2026-11-30 12:29:27.515115+00
\.
COPY operations.payloads (letter_id, body, headers, trace) FROM stdin;
1	\\x7b227370656376657273696f6e223a22312e30222c226964223a226f72646572732f6f2d334031222c22736f75726365223a22746964656d61726b2f636f6d6d616e642d73657276696365222c2274797065223a226f72646572732e6f726465722d706c61636564222c227375626a656374223a226f72646572732f6f2d33222c2274696d65223a22323032362d31312d33305431323a32393a33382e3438333934395a222c2264617461636f6e74656e7474797065223a226170706c69636174696f6e2f6a736f6e222c2264617461223a7b226f726465725f6964223a226f2d33222c22637573746f6d65725f6964223a226b2d33222c2263757272656e6379223a22455552222c226c696e6573223a5b7b2270726f647563745f6964223a22702d33222c226e616d65223a224d75672033222c227175616e74697479223a342c22616d6f756e74223a3430307d5d2c226974656d5f636f756e74223a342c22746f74616c223a3430302c22706c616365645f6174223a22323032362d30312d30345431303a30303a30305a227d2c2273747265616d76657273696f6e223a312c22736368656d6176657273696f6e223a322c22636175736174696f6e6964223a22632d3136222c22636f7272656c6174696f6e6964223a223930643330383766303862643464633838303761346530373165616463333265227d	{"tidemark-seen": 1, "tidemark-trace": "projectors.drill.DrillError: this stream is poisoned for a drill\\n", "tidemark-origin": "summary", "tidemark-reason": "projection-failed", "tidemark-stream": "orders/o-3", "tidemark-version": 1, "tidemark-attempts": 1, "tidemark-exception": "DrillError: this stream is poisoned for a drill", "tidemark-failed-at": "2026-11-30T12:29:38.493163+00:00", "tidemark-fingerprint": "DrillError|-|this stream is poisoned for a drill", "tidemark-first-failed-at": "2026-11-30T12:29:38.493128+00:00"}	projectors.drill.DrillError: this stream is poisoned for a drill\n
2	\\x7b227370656376657273696f6e223a22312e30222c226964223a226f72646572732f6f2d354031222c22736f75726365223a22746964656d61726b2f636f6d6d616e642d73657276696365222c2274797065223a226f72646572732e6f726465722d706c61636564222c227375626a656374223a226f72646572732f6f2d35222c2274696d65223a22323032362d31312d33305431323a32393a33382e3533363332325a222c2264617461636f6e74656e7474797065223a226170706c69636174696f6e2f6a736f6e222c2264617461223a7b226f726465725f6964223a226f2d35222c22637573746f6d65725f6964223a226b2d31222c2263757272656e6379223a22455552222c226c696e6573223a5b7b2270726f647563745f6964223a22702d31222c226e616d65223a224d75672031222c227175616e74697479223a362c22616d6f756e74223a3630307d5d2c226974656d5f636f756e74223a362c22746f74616c223a3630302c22706c616365645f6174223a22323032362d30312d30365431303a30303a30305a227d2c2273747265616d76657273696f6e223a312c22736368656d6176657273696f6e223a322c22636175736174696f6e6964223a22632d3138222c22636f7272656c6174696f6e6964223a226161316333616661623363623435393738333330393066636364353465636265227d	{"tidemark-seen": 1, "tidemark-trace": "projectors.drill.DrillError: this stream is poisoned for a drill\\n", "tidemark-origin": "summary", "tidemark-reason": "projection-failed", "tidemark-stream": "orders/o-5", "tidemark-version": 1, "tidemark-attempts": 1, "tidemark-exception": "DrillError: this stream is poisoned for a drill", "tidemark-failed-at": "2026-11-30T12:29:38.562766+00:00", "tidemark-fingerprint": "DrillError|-|this stream is poisoned for a drill", "tidemark-first-failed-at": "2026-11-30T12:29:38.562730+00:00"}	projectors.drill.DrillError: this stream is poisoned for a drill\n
\.
COPY operations.requests (request_id, verb, digest, answer, at) FROM stdin;
\.
COPY operations.resent_commands (command_id, letter_id, request_id, type, body, reply_to, correlation_id, actor, reason, created_at, published_at) FROM stdin;
\.
SELECT pg_catalog.setval('operations.audit_id_seq', 3, true);
SELECT pg_catalog.setval('operations.jobs_id_seq', 1, false);
SELECT pg_catalog.setval('operations.letters_id_seq', 2, true);
ALTER TABLE ONLY operations.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (id);
ALTER TABLE ONLY operations.discards
    ADD CONSTRAINT discards_pkey PRIMARY KEY (letter_id);
ALTER TABLE ONLY operations.job_items
    ADD CONSTRAINT job_items_pkey PRIMARY KEY (job_id, ord);
ALTER TABLE ONLY operations.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY operations.jobs
    ADD CONSTRAINT jobs_request_id_key UNIQUE (request_id);
ALTER TABLE ONLY operations.letter_failures
    ADD CONSTRAINT letter_failures_pkey PRIMARY KEY (letter_id, failed_at);
ALTER TABLE ONLY operations.letters
    ADD CONSTRAINT letters_origin_identity_key UNIQUE (origin, identity);
ALTER TABLE ONLY operations.letters
    ADD CONSTRAINT letters_pkey PRIMARY KEY (id);
ALTER TABLE ONLY operations.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (name);
ALTER TABLE ONLY operations.payloads
    ADD CONSTRAINT payloads_pkey PRIMARY KEY (letter_id);
ALTER TABLE ONLY operations.requests
    ADD CONSTRAINT requests_pkey PRIMARY KEY (request_id);
ALTER TABLE ONLY operations.resent_commands
    ADD CONSTRAINT resent_commands_pkey PRIMARY KEY (command_id);
CREATE INDEX audit_by_job ON operations.audit USING btree (job_id) WHERE (job_id IS NOT NULL);
CREATE INDEX audit_by_letter ON operations.audit USING btree (letter_id) WHERE (letter_id IS NOT NULL);
CREATE UNIQUE INDEX audit_by_projection ON operations.audit USING btree (projection, request_id, act, ((details ->> 'asked_at'::text))) WHERE (projection IS NOT NULL);
CREATE INDEX discards_due ON operations.discards USING btree (due_at) WHERE (due_at IS NOT NULL);
CREATE INDEX job_items_by_letter ON operations.job_items USING btree (letter_id);
CREATE INDEX jobs_open ON operations.jobs USING btree (id) WHERE (state = ANY (ARRAY['pending'::text, 'canary'::text, 'running'::text, 'paused'::text]));
CREATE INDEX letters_by_command ON operations.letters USING btree (command_id) WHERE (command_id IS NOT NULL);
CREATE INDEX letters_by_group ON operations.letters USING btree (origin, fingerprint);
CREATE INDEX letters_by_replaced ON operations.letters USING btree (replaces) WHERE (replaces IS NOT NULL);
CREATE INDEX letters_by_stream ON operations.letters USING hash (stream);
CREATE INDEX letters_by_time ON operations.letters USING btree (last_failed_at DESC, id DESC);
CREATE INDEX letters_live ON operations.letters USING btree (id) WHERE live;
CREATE INDEX letters_live_by_time ON operations.letters USING btree (last_failed_at DESC, id DESC) WHERE live;
CREATE INDEX resent_commands_by_letter ON operations.resent_commands USING btree (letter_id);
CREATE INDEX resent_commands_waiting ON operations.resent_commands USING btree (created_at) WHERE (published_at IS NULL);
CREATE TRIGGER audit_rows_stay BEFORE DELETE OR UPDATE ON operations.audit FOR EACH ROW EXECUTE FUNCTION operations.audit_stays();
CREATE TRIGGER audit_table_stays BEFORE TRUNCATE ON operations.audit FOR EACH STATEMENT EXECUTE FUNCTION operations.audit_stays();
ALTER TABLE ONLY operations.audit
    ADD CONSTRAINT audit_job_id_fkey FOREIGN KEY (job_id) REFERENCES operations.jobs(id);
ALTER TABLE ONLY operations.audit
    ADD CONSTRAINT audit_letter_id_fkey FOREIGN KEY (letter_id) REFERENCES operations.letters(id);
ALTER TABLE ONLY operations.discards
    ADD CONSTRAINT discards_letter_id_fkey FOREIGN KEY (letter_id) REFERENCES operations.letters(id);
ALTER TABLE ONLY operations.letter_failures
    ADD CONSTRAINT letter_failures_letter_id_fkey FOREIGN KEY (letter_id) REFERENCES operations.letters(id);
ALTER TABLE ONLY operations.letters
    ADD CONSTRAINT letters_replaces_fkey FOREIGN KEY (replaces) REFERENCES operations.letters(id);
ALTER TABLE ONLY operations.payloads
    ADD CONSTRAINT payloads_letter_id_fkey FOREIGN KEY (letter_id) REFERENCES operations.letters(id);
ALTER TABLE ONLY operations.resent_commands
    ADD CONSTRAINT resent_commands_letter_id_fkey FOREIGN KEY (letter_id) REFERENCES operations.letters(id);
GRANT USAGE ON SCHEMA operations TO tidemark_reader;
GRANT ALL ON SCHEMA public TO tidemark;
GRANT SELECT ON TABLE operations.letters TO tidemark_reader;
GRANT SELECT ON TABLE operations.audit TO tidemark_reader;
GRANT SELECT ON TABLE operations.discards TO tidemark_reader;
GRANT SELECT ON TABLE operations.job_items TO tidemark_reader;
GRANT SELECT ON TABLE operations.jobs TO tidemark_reader;
GRANT SELECT ON TABLE operations.letter_failures TO tidemark_reader;
GRANT SELECT ON TABLE operations.migrations TO tidemark_reader;
GRANT SELECT ON TABLE operations.payloads TO tidemark_reader;
GRANT SELECT ON TABLE operations.requests TO tidemark_reader;
GRANT SELECT ON TABLE operations.resent_commands TO tidemark_reader;
