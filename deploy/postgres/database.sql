-- Closes one of Tidemark's databases to everybody but its owner: run as a superuser in each of them; safe to run again.
-- `tidemark migrate` opens it for those who need it.
DO $$
DECLARE
    function regprocedure;
BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    REVOKE ALL ON SCHEMA public FROM PUBLIC;
    GRANT ALL ON SCHEMA public TO tidemark WITH GRANT OPTION;
    -- Large objects have no grants of their own until they are made, and anybody may make them: a way to write for those who only read.
    FOR function IN
        SELECT oid FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace AND (proname LIKE 'lo\_%' OR proname IN ('loread', 'lowrite'))
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', function);
    END LOOP;
END
$$;
