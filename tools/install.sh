#!/bin/sh
# Install Burnish with everything needed to develop and test it, torch pinned by constraints.txt.
# With a wheel folder (PIP_FIND_LINKS) uv must be told of it; without one, uv is asked for the torch build that fits this
# machine (CPU or the right CUDA), and plainly if that fails.
set -eu
uv="$(dirname "$PYTHON")/uv"
# Compiled at once: where Python may not write byte code later, every start would compile torch anew (five seconds).
install() { "$uv" pip install --compile-bytecode --python "$PYTHON" -c constraints.txt "$@" -e ".[dev]"; }
if [ -n "${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}" ]; then
    UV_FIND_LINKS="${UV_FIND_LINKS:-$PIP_FIND_LINKS}" install
else
    install --torch-backend=auto || install
fi
