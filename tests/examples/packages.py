"""The Node example's packages, installed by npm from its lock file and kept under `.postman/` for the next run."""

import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import pytest

from tests.examples.mail_vectors import ROOT

__all__ = ["NODE", "installed_node_example"]

NODE: Final = ROOT / "examples" / "publish" / "node"

_KEPT: Final = ROOT / ".postman" / "examples"
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


def installed_node_example(folder: Path) -> Path:
    """Return a copy of the example in *folder* that can be run; skips where Node, npm or its registry is not there."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    copy = folder / "node"
    copy.mkdir()
    for source in NODE.glob("*.mjs"):
        shutil.copy(source, copy)
    shutil.copy(NODE / "package.json", copy)
    (copy / "node_modules").symlink_to(_node_modules())
    return copy


def _node_modules() -> Path:
    """Return the packages of this very lock file; a directory that is there is whole."""
    key = sha256(b"".join((NODE / name).read_bytes() for name in _INSTALLED)).hexdigest()[:16]
    kept = _KEPT / f"node-{key}"
    if not kept.exists():
        _KEPT.mkdir(parents=True, exist_ok=True)
        fresh = Path(mkdtemp(dir=_KEPT))
        try:
            _install(fresh)
            _rename(fresh, kept)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return kept / "node_modules"


def _install(folder: Path) -> None:
    for name in _INSTALLED:
        shutil.copy(NODE / name, folder)
    done = subprocess.run([*_NPM, *_QUICKLY], cwd=folder, capture_output=True, text=True, timeout=150, check=False)
    if done.returncode and any(sign in done.stderr for sign in _NO_REGISTRY):
        pytest.skip("npm cannot reach a registry")
    assert done.returncode == 0, done.stderr


def _rename(fresh: Path, kept: Path) -> None:
    try:
        os.rename(fresh, kept)  # noqa: PTH104 — raises where another run was quicker, which Path's words hide
    except OSError:
        assert kept.exists()
