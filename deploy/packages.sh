#!/usr/bin/env bash
# What the system is built from, as uv.lock has it: `packages.sh audit` looks every locked package up in a database of known
# vulnerabilities (OSV), `packages.sh sbom [FILE]` writes a bill of materials (CycloneDX 1.5, JSON, with the hash of every file).
# `packages.sh clickhouse` installs the extra `clickhouse` into .venv.
#
# Exit codes of audit: 0 none is known, 1 some are (they are listed), 3 the database cannot be reached: nothing is known.
# TIDEMARK_OSV_URL: another server of the OSV API, such as a mirror.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

uv=.tidemark/uv/bin/uv
[ -x "$uv" ] || uv=uv
"$uv" export --help 2>/dev/null | grep -q cyclonedx ||
  { echo "tidemark: this needs uv 0.13 or later: remove .tidemark/uv and run make setup" >&2; exit 2; }

case "${1:-}" in
  audit)
    # uv's own exit codes: 1 some are vulnerable, 2 it could not find out.
    code=0
    "$uv" audit --locked --preview-features audit-command ${TIDEMARK_OSV_URL:+--service-url "$TIDEMARK_OSV_URL"} || code=$?
    [ "$code" -lt 2 ] && exit "$code"
    echo "tidemark: the database of known vulnerabilities (${TIDEMARK_OSV_URL:-api.osv.dev}) cannot be asked: nothing is known about the packages" >&2
    exit 3
    ;;
  sbom)
    file="${2:-dist/sbom.cdx.json}"
    mkdir -p "$(dirname "$file")"
    "$uv" export --locked --no-dev --extra telemetry --quiet --preview-features sbom-export --format cyclonedx1.5 --output-file "$file"
    echo "wrote $file"
    ;;
  clickhouse)
    "$uv" sync --locked --quiet --python .venv/bin/python --extra clickhouse
    ;;
  *)
    echo "usage: deploy/packages.sh audit | sbom [FILE] | clickhouse" >&2
    exit 2
    ;;
esac
