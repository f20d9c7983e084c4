#!/usr/bin/env bash
# Creates .venv with exactly the locked dependencies, on a machine that has only Python 3.11 or later. Writes
# .tidemark/setup on success; make runs this again only when pyproject.toml or uv.lock changes.
#
# It uses uv: one that is on the PATH and new enough, or else one from PyPI in .tidemark/uv, installed in a virtual
# environment (python -m venv), with pip alone, or, as root, with either after installing them with apt-get.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT="$PWD/.venv" UV_NO_PROGRESS=1
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
uv_wanted=(--require-hashes --requirement deploy/build.txt)  # exported from uv.lock
log=.tidemark/setup.log

fail() {
  echo "tidemark: $*" >&2
  exit 1
}

find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 python; do
    if command -v "$candidate" >/dev/null 2>&1 &&
      "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  fail "Python 3.11 or later is needed, and none was found (set PYTHON=/path/to/python3 if there is one)"
}

# Prints the command of a uv that is new enough to read our lock file, or fails.
existing_uv() {
  local candidate
  for candidate in .tidemark/uv/bin/uv uv; do
    if "$candidate" --version 2>/dev/null |
      "$python" -c 'import sys; sys.exit([int(n) for n in sys.stdin.read().split()[1].split(".")[:2]] < [0, 9])' \
        2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  return 1
}

# Installs uv from PyPI into .tidemark/uv, in a virtual environment or else with pip alone.
uv_from_pypi() {
  rm -rf .tidemark/uv
  { "$1" -m venv .tidemark/uv && .tidemark/uv/bin/python -m pip install --quiet "${uv_wanted[@]}"; } && return
  rm -rf .tidemark/uv
  "$1" -m pip install --quiet --target .tidemark/uv "${uv_wanted[@]}"
}

install_uv() {
  uv_from_pypi "$python" && return
  [ "$(id -u)" = 0 ] && command -v apt-get || return
  export DEBIAN_FRONTEND=noninteractive
  local install=(apt-get install --yes --no-install-recommends python3-venv python3-pip)
  "${install[@]}" || { apt-get update && "${install[@]}"; } || return
  # apt-get installs for the system's Python, which may not be the one that was found.
  uv_from_pypi /usr/bin/python3
}

mkdir -p .tidemark
python="$(find_python)"
if ! uv="$(existing_uv)"; then
  echo "tidemark: getting uv, once" >&2
  install_uv >"$log" 2>&1 || fail "neither venv nor pip works with $python: install python3-venv (see $log)"
  uv="$(existing_uv)" || fail "uv was installed but does not run (see $log)"
fi

if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  "$uv" venv --quiet --clear --python "$python" .venv || fail "uv could not make .venv with $python"
fi

echo "tidemark: installing the locked dependencies into .venv" >&2
"$uv" sync --locked --quiet --python .venv/bin/python ||
  fail "the locked dependencies could not be installed: see above"
touch .tidemark/setup
