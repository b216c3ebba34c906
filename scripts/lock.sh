#!/usr/bin/env bash
# Writes requirements.lock: every pin of `.[dev]` for Python 3.11, with the CPU build of torch. Then
# requirements-clients.lock: every pin of the group `clients`.
set -euo pipefail

# uv does not read pip's settings: where pip looks for wheels, it should look too.
UV_FIND_LINKS="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-$("$BIN/python" -m pip config get global.find-links 2>/dev/null || true)}}"
export UV_FIND_LINKS

new=$(mktemp)
trap 'rm -f "$new"' EXIT
resolve() {
    "$BIN/uv" pip compile --quiet "$@" --python-version 3.11 --upgrade \
        --no-annotate --no-header --no-emit-find-links --output-file "$new"
}

resolve pyproject.toml --extra dev

if grep --quiet --extended-regexp '^(nvidia-|cuda-|triton==)' "$new"; then
    echo "torch was resolved to its CUDA build. Set UV_TORCH_BACKEND=cpu, or let pip's find-links name the CPU wheel." >&2
    exit 1
fi
{
    echo '# Made by `make lock`; every pin of `.[dev]`. Install with `pip install -r requirements.lock`.'
    sed --regexp-extended 's/^(torch==[0-9.]+)\+cpu$/\1/' "$new"
} > requirements.lock

resolve --group clients
{
    echo '# Made by `make lock`; every pin of the group `clients` in pyproject.toml. `make clients` installs it.'
    cat "$new"
} > requirements-clients.lock
