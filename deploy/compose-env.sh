#!/usr/bin/env bash
# Prints a .env for docker-compose.yml with random passwords. Keep it: the data volumes were initialised with them.
set -euo pipefail

password() {
  od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

echo "# Generated; not for the repository. See docker-compose.yml for what uses which."
for name in POSTGRES_PASSWORD TIDEMARK_DB_PASSWORD TIDEMARK_READER_DB_PASSWORD RABBITMQ_PASSWORD \
  RABBITMQ_{WORKER,RELAY,HTTP,SUMMARY,ANALYTICS,SEARCH,TELEMETRY,PROCESSES,DEAD_LETTERS,QUERY}_PASSWORD \
  REDIS_PASSWORD REDIS_READER_PASSWORD OPERATOR_KEY; do
  echo "$name=$(password)"
done
