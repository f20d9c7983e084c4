CREATE TABLE payments (
    payment_id text PRIMARY KEY,
    order_id   text NOT NULL,
    status     text NOT NULL,
    version    bigint NOT NULL,
    doc        jsonb NOT NULL
);
CREATE INDEX payments_by_order ON payments (order_id, payment_id);
CREATE INDEX payments_by_status ON payments (status, payment_id);

-- A product's document with what is reserved and available of its stock. A document has `reserved` only once something has been reserved:
-- so those that were written before there were reservations need no change.
CREATE FUNCTION with_availability(doc jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT doc || jsonb_build_object(
        'reserved', coalesce((doc -> 'reserved')::bigint, 0),
        'available', (doc -> 'stock')::bigint - coalesce((doc -> 'reserved')::bigint, 0)
    )
$$;
