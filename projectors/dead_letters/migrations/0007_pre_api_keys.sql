-- API keys of the HTTP services. Of a key only the SHA-256 of its secret is here, which is 256 random bits. Written by `tidemark keys`,
-- read by every HTTP service.

CREATE TABLE api_keys (
    id         text PRIMARY KEY CHECK (id ~ '^[a-z0-9]{12}$'),
    subject    text NOT NULL CHECK (length(subject) BETWEEN 1 AND 200),
    digest     bytea NOT NULL CHECK (octet_length(digest) = 32),
    scopes     text[] NOT NULL CHECK (cardinality(scopes) BETWEEN 1 AND 200),
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    expires_at timestamptz,            -- NULL: never
    revoked_at timestamptz,
    revoked_by text,
    replaces   text REFERENCES api_keys (id)  -- the key that this one was created to replace
);
CREATE INDEX api_keys_by_subject ON api_keys (subject) WHERE revoked_at IS NULL;

-- Changes whenever a key does: its readers look at this row, and at the keys only when it has changed. Writers take turns at it, so that
-- no reader can see a revision without the changes that it stands for.
CREATE TABLE api_keys_revision (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    revision bigint NOT NULL
);
INSERT INTO api_keys_revision (revision) VALUES (1);

CREATE FUNCTION api_keys_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE operations.api_keys_revision SET revision = revision + 1;
    RETURN NULL;
END
$$;
CREATE TRIGGER api_keys_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION api_keys_changed();
