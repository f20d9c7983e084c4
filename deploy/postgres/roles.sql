-- The roles of Tidemark in one cluster: the owner, and one for each deployable, which the setting tidemark.roles names, by commas
-- (tidemark_worker,tidemark_relay…). Run as a superuser; safe to run again. They have no passwords yet, so that they cannot log in.
-- What each may do is granted by `tidemark migrate` (deploy/run/grants.py). The owner migrates, and is a member of every other role: it sees
-- their sessions, and gives them what it has made for them. tidemark_exporter is of no deployable: for metrics, it reads the server's own
-- figures, and no table of Tidemark.
DO $$
DECLARE
    roles text[] := string_to_array(current_setting('tidemark.roles'), ',');
    name text;
BEGIN
    FOREACH name IN ARRAY array_prepend('tidemark', roles) LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', name);
        END IF;
        -- The detail of an error quotes the row: the server's log must not have what is sealed or erased everywhere else.
        EXECUTE format('ALTER ROLE %I SET log_error_verbosity = ''terse''', name);
    END LOOP;
    IF 'tidemark_exporter' = ANY (roles) THEN
        GRANT pg_monitor TO tidemark_exporter;
        ALTER ROLE tidemark_exporter SET default_transaction_read_only = on;
        ALTER ROLE tidemark_exporter SET statement_timeout = '60s';
    END IF;
    FOREACH name IN ARRAY array_remove(array_remove(roles, 'tidemark'), 'tidemark_exporter') LOOP
        EXECUTE format('GRANT %I TO tidemark', name);
        EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = ''60s''', name);
        IF name IN ('tidemark_reader', 'tidemark_http') THEN
            EXECUTE format('ALTER ROLE %I SET default_transaction_read_only = on', name);
            EXECUTE format('ALTER ROLE %I SET statement_timeout = ''60s''', name);
        END IF;
    END LOOP;
    -- No role has a reason to be in these, where it could make temporary tables.
    REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC;
    GRANT CONNECT ON DATABASE postgres TO tidemark;
    IF 'tidemark_exporter' = ANY (roles) THEN
        GRANT CONNECT ON DATABASE postgres TO tidemark_exporter;
    END IF;
END
$$;
