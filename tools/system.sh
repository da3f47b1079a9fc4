#!/bin/sh
# Programs that some tests and worlds use and pip cannot bring. As root with apt-get they are installed; otherwise each that is
# missing is named, with how to get it. Never fails: what needs one of them says so, or its test is skipped.
missing=""
command -v redis-server >/dev/null 2>&1 || missing="$missing redis-server"
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
command -v node >/dev/null 2>&1 || missing="$missing nodejs"
command -v npm >/dev/null 2>&1 || missing="$missing npm"
if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    export DEBIAN_FRONTEND=noninteractive
    timeout 120 apt-get update -qq >/dev/null 2>&1
    for package in $missing; do
        timeout 300 apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1
    done
fi
tell() { command -v "$1" >/dev/null 2>&1 || echo "$1 is missing, for $3: apt-get install $2"; }
tell redis-server redis-server "a team's memory on Redis"
tell chromium chromium "tests of the pages"
tell node nodejs "the Minecraft world"
tell npm npm "the Minecraft world"
# The Node packages, so that neither a run nor a test needs the network.
if [ -n "${PYTHON:-}" ] && command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1; then
    "$PYTHON" - <<'END' || echo "the Minecraft world's packages could not be prepared"
from pathlib import Path
from burnish.act.worlds.minecraft.packages import BRIDGE, install
from burnish.core.errors import UserError
for source in (BRIDGE, Path("tests/act/minecraft")):
    try:
        install(source)
    except UserError as error:
        print(f"Node packages of {source.name}: {error}")
END
fi
exit 0
