"""Node packages for tests, installed by npm from a lock file and kept under `.postman/` for the next run."""

import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import pytest

__all__ = ["node_modules"]

_ROOT: Final = Path(__file__).parent.parent
_KEPT: Final = _ROOT / ".postman" / "node"
_INSTALLED: Final = ("package.json", "package-lock.json", ".npmrc")
_NPM: Final = ("npm", "ci", "--no-audit", "--no-fund")
_QUICKLY: Final = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=20000")
_NO_REGISTRY: Final = (
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ECONNRESET",
    "ETIMEDOUT",
    "ENETUNREACH",
    "E403",
    "E503",
)


def node_modules(source: Path) -> Path:
    """Return the packages of the lock file in *source*; skips where Node, npm or its registry is not there."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    key = sha256(b"".join((source / name).read_bytes() for name in _INSTALLED)).hexdigest()[:16]
    kept = _KEPT / key
    if not kept.exists():
        _KEPT.mkdir(parents=True, exist_ok=True)
        fresh = Path(mkdtemp(dir=_KEPT))
        try:
            _install(source, fresh)
            _rename(fresh, kept)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return kept / "node_modules"


def _install(source: Path, folder: Path) -> None:
    for name in _INSTALLED:
        shutil.copy(source / name, folder)
    done = subprocess.run([*_NPM, *_QUICKLY], cwd=folder, capture_output=True, text=True, timeout=150, check=False)
    if done.returncode and any(sign in done.stderr for sign in _NO_REGISTRY):
        pytest.skip("npm cannot reach a registry")
    assert done.returncode == 0, done.stderr


def _rename(fresh: Path, kept: Path) -> None:
    try:
        os.rename(fresh, kept)  # noqa: PTH104 — raises where another run was quicker, which Path's words hide
    except OSError:
        assert kept.exists()
