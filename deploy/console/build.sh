#!/usr/bin/env bash
# Builds the console into query_service/console, or into the folder that is given: `make console`. The same sources give the same bytes.
# Exit code 3: the packages cannot be had.
#   --check also checks the types, against the routes as they are.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
check=
if [ "${1:-}" = --check ]; then
  check=yes
  shift
fi
[ node_modules/.package-lock.json -nt package-lock.json ] ||
  npm ci --no-audit --no-fund --ignore-scripts || exit 3
if [ -n "$check" ]; then
  ../../.venv/bin/python -m deploy.console.openapi_documents src/api
  for service in queries commands; do
    npx --no-install openapi-typescript "src/api/$service.json" -o "src/api/$service.d.ts" >/dev/null
  done
  npx --no-install svelte-check --tsconfig ./tsconfig.json --fail-on-warnings
fi
npx --no-install vite build --logLevel warn ${1:+--outDir "$1"} --emptyOutDir
