-- Who is erased: written with the event that says so. The key of the person is destroyed after that (erased_at). settled_at: the command was
-- decided once more when no worker was left that knew the key before. The key database has the same list.
CREATE TABLE erasures (
    subject      text PRIMARY KEY,
    requested_at timestamptz NOT NULL DEFAULT now(),
    erased_at    timestamptz,
    settled_at   timestamptz
);
CREATE INDEX erasures_open ON erasures (requested_at) WHERE settled_at IS NULL;

-- What is unique of a person, as a keyed hash: found by the person's stream when it is freed.
CREATE INDEX claims_of_persons ON claims (stream) WHERE scope IN ('customer-email', 'user-email');

-- How far `tidemark subjects seal` has come with events from before personal data were sealed. Where there were none, it is done.
CREATE TABLE sealing (
    single  boolean PRIMARY KEY DEFAULT true CHECK (single),
    done_at timestamptz
);
INSERT INTO sealing (done_at) SELECT CASE WHEN EXISTS (SELECT FROM all_events) THEN NULL ELSE now() END;

-- The only way in which an event is written again, by `tidemark subjects seal`: texts of its data are replaced by sealed ones, or by the erased
-- form. Everything else about it, and which fields it has, stays. Only the owner may: no deployable has the right to update events.
CREATE FUNCTION replace_texts(of_stream text, of_version bigint, sealed json) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    before jsonb;
BEGIN
    SELECT envelope::jsonb INTO before FROM all_events WHERE stream = of_stream AND version = of_version;
    IF before IS NULL THEN
        RETURN false;
    END IF;
    IF before - 'data' <> sealed::jsonb - 'data'
        OR (SELECT array_agg(key ORDER BY key) FROM jsonb_object_keys(before -> 'data') AS key)
            IS DISTINCT FROM (SELECT array_agg(key ORDER BY key) FROM jsonb_object_keys(sealed::jsonb -> 'data') AS key)
        OR EXISTS (
            SELECT FROM jsonb_each(before -> 'data') AS was JOIN jsonb_each(sealed::jsonb -> 'data') AS becomes USING (key)
            WHERE was.value <> becomes.value
                AND NOT (becomes.value #>> '{}' LIKE 'tmk1:%' OR becomes.value #>> '{}' = '[erased]')
        )
    THEN
        RAISE EXCEPTION 'only texts of %@% may be sealed or erased', of_stream, of_version;
    END IF;
    UPDATE events SET envelope = sealed WHERE stream = of_stream AND version = of_version;
    UPDATE archived_events SET envelope = sealed WHERE stream = of_stream AND version = of_version;
    RETURN true;
END
$$;
