"""The Node packages that the bridge needs: installed once, from its lock file, into the user's cache."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from filelock import FileLock

from burnish.core import paths
from burnish.core.errors import UserError
from burnish.core.files import explained
from burnish.core.metrics import activity

BRIDGE = Path(__file__).parent / "bridge"
SECONDS = 480  # of one npm ci


def node() -> str:
    """The path of Node.

    Raises:
        UserError: Node or npm is missing.
    """
    found = shutil.which("node")
    if found is None or shutil.which("npm") is None:
        raise UserError("world.kind: minecraft needs Node with npm, 20 or newer (Debian: apt-get install nodejs npm)")
    return found


def install(source: Path = BRIDGE) -> Path:
    """A folder of the cache that holds ``node_modules`` as the lock file in ``source`` pins them.

    Raises:
        UserError: Node is missing, or npm could not install; names the cause.
    """
    node()
    lock = (source / "package-lock.json").read_bytes()
    folder = paths.cache() / "node" / hashlib.sha256(lock).hexdigest()[:16]
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with activity("minecraft: Node packages"), FileLock(f"{folder}.lock"):
        if not (folder / "complete").exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copyfile(source / name, folder / name)
            # No package's own scripts are run: none that the bridge uses needs one.
            command = ["npm", "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
            try:
                made = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
            except subprocess.TimeoutExpired:
                raise UserError(f"npm ci took more than {SECONDS} s; is the package registry reachable?") from None
            if made.returncode:
                why = next((line for line in made.stderr.splitlines() if "error" in line.lower()), "no reason given")
                raise UserError(f"npm ci failed in {folder}: {why.strip()[:200]}")
            (folder / "complete").touch()
    return folder
