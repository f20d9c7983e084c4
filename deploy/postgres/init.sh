#!/usr/bin/env bash
# Runs once, when a PostgreSQL container initialises its data. Creates the databases named in TIDEMARK_DATABASES, the role
# tidemark that owns them, and, if TIDEMARK_READER_DB_PASSWORD is set, the role tidemark_reader, which may connect to all of
# them except the write database. The migrations grant what it may read. deploy/servers/databases.py does the same for
# private servers.
set -euo pipefail

as_admin() {
  psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" "$@"
}

as_admin --dbname postgres --set password="$TIDEMARK_DB_PASSWORD" <<'SQL'
CREATE ROLE tidemark LOGIN PASSWORD :'password';
SQL

if [ -n "${TIDEMARK_READER_DB_PASSWORD:-}" ]; then
  as_admin --dbname postgres --set password="$TIDEMARK_READER_DB_PASSWORD" <<'SQL'
CREATE ROLE tidemark_reader LOGIN PASSWORD :'password';
ALTER ROLE tidemark_reader SET default_transaction_read_only = on;
SQL
fi

for database in $TIDEMARK_DATABASES; do
  as_admin --dbname postgres --set database="$database" <<'SQL'
CREATE DATABASE :"database" OWNER tidemark;
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
SQL
  as_admin --dbname "$database" <<'SQL'
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT ALL ON SCHEMA public TO tidemark;
SQL
  if [ -n "${TIDEMARK_READER_DB_PASSWORD:-}" ] && [ "$database" != tidemark_write ]; then
    as_admin --dbname postgres --set database="$database" <<'SQL'
GRANT CONNECT ON DATABASE :"database" TO tidemark_reader;
SQL
  fi
done
