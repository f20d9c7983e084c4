-- An order and what an event said are written far more often than they are looked into: as json they are kept as they came. To take
-- both apart for jsonb was nearly half of what a rebuild cost the server. Only where nothing is stored yet: what is there stays
-- jsonb until it is rebuilt, and statements go by either. Another type forgets how it was compressed.
DO $$
BEGIN
    IF EXISTS (SELECT FROM history) OR EXISTS (SELECT FROM orders) THEN
        RETURN;
    END IF;
    ALTER TABLE history ALTER COLUMN data TYPE json;
    ALTER TABLE orders ALTER COLUMN doc TYPE json;
    BEGIN
        ALTER TABLE history ALTER COLUMN data SET COMPRESSION lz4;
        ALTER TABLE orders ALTER COLUMN doc SET COMPRESSION lz4;
    EXCEPTION WHEN feature_not_supported THEN
        RAISE NOTICE 'this server has no lz4';
    END;
END
$$;
