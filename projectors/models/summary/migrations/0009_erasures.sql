-- Persons whose erasure this store has applied. Whatever arrives of them later is applied in the erased form.
CREATE TABLE erased_subjects (
    subject text PRIMARY KEY
);

-- A document with the erased form of those of its texts that are a person's data. What is absent stays absent.
CREATE FUNCTION erased(doc jsonb, texts text[]) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT doc || coalesce(
        (SELECT jsonb_object_agg(key, '[erased]') FROM jsonb_each(doc) WHERE key = ANY (texts) AND jsonb_typeof(value) = 'string'),
        '{}'
    )
$$;

-- A customer's reviews are events of products.
CREATE INDEX history_of_reviews ON history ((data ->> 'customer_id')) WHERE type = 'catalog.review-added';
