#!/usr/bin/env bash
# Makes a .env for docker-compose.yml, which only its owner can read, with random passwords; adds those that an older one has not, and keeps
# the others: the data volumes were initialised with them.
set -euo pipefail
file="${1:-.env}"

password() {
  od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

umask 077
if [ ! -e "$file" ]; then
  echo "# Generated; not for the repository. See docker-compose.yml for what uses which." > "$file"
fi
chmod 600 "$file"
# PostgreSQL's administrator, the owner, and the role of each deployable; RabbitMQ's administrator, and the user of each; Redis's users; the operators' key.
for name in POSTGRES_PASSWORD TIDEMARK_DB_PASSWORD \
  TIDEMARK_WORKER_DB_PASSWORD TIDEMARK_RELAY_DB_PASSWORD TIDEMARK_HTTP_DB_PASSWORD \
  TIDEMARK_SUMMARY_DB_PASSWORD TIDEMARK_SEARCH_DB_PASSWORD TIDEMARK_TELEMETRY_DB_PASSWORD \
  TIDEMARK_PROCESSES_DB_PASSWORD TIDEMARK_DEAD_LETTERS_DB_PASSWORD TIDEMARK_READER_DB_PASSWORD \
  TIDEMARK_EXPORTER_DB_PASSWORD \
  RABBITMQ_PASSWORD \
  RABBITMQ_{WORKER,RELAY,HTTP,SUMMARY,ANALYTICS,SEARCH,TELEMETRY,PROCESSES,DEAD_LETTERS,QUERY}_PASSWORD \
  REDIS_PASSWORD REDIS_ANALYTICS_PASSWORD REDIS_READER_PASSWORD REDIS_EXPORTER_PASSWORD \
  OPERATOR_KEY; do
  if ! grep -q "^$name=" "$file"; then
    echo "$name=$(password)" >> "$file"
    echo "$name added to $file"
  fi
done
