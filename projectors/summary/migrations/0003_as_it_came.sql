-- An order and what an event said are written far more often than they are looked into: as json they are kept as they came. To take
-- both apart for jsonb was nearly half of what a rebuild cost the server. Only where nothing is stored yet: what is there stays
-- jsonb until it is rebuilt, and statements go by either.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM history) AND NOT EXISTS (SELECT FROM orders) THEN
        ALTER TABLE history ALTER COLUMN data TYPE json;
        ALTER TABLE orders ALTER COLUMN doc TYPE json;
    END IF;
END
$$;
