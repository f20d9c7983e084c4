#!/usr/bin/env bash
# Runs once, when a PostgreSQL container initialises its data; safe to run again by hand, for roles and databases that are new. Creates the
# roles of TIDEMARK_ROLES (by commas) with their passwords, from <ROLE>_DB_PASSWORD, and the databases of TIDEMARK_DATABASES.
# `tidemark migrate` grants what each role may do. deploy/servers/accounts/databases.py does the same for private servers, by the same files.
set -euo pipefail
here="${TIDEMARK_SQL:-/usr/local/share/tidemark}"

as_admin() {
  psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" "$@"
}

PGOPTIONS="-c tidemark.roles=$TIDEMARK_ROLES" as_admin --dbname postgres --file "$here/roles.sql"

for role in tidemark ${TIDEMARK_ROLES//,/ }; do
  variable="${role^^}_DB_PASSWORD"
  # By the environment: arguments are seen by everybody on the machine.
  ROLE="$role" PASSWORD="${!variable:?}" as_admin --dbname postgres <<'SQL'
\getenv role ROLE
\getenv password PASSWORD
ALTER ROLE :"role" PASSWORD :'password';
SQL
done

for database in $TIDEMARK_DATABASES; do
  as_admin --dbname postgres --set database="$database" <<'SQL'
SELECT format('CREATE DATABASE %I OWNER tidemark', :'database')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
SQL
  as_admin --dbname "$database" --file "$here/database.sql"
done
