"""The Node example, with the packages of its lock file."""

import shutil
from pathlib import Path
from typing import Final

from tests.examples.mail_vectors import ROOT
from tests.npm import node_modules

__all__ = ["NODE", "installed_node_example"]

NODE: Final = ROOT / "examples" / "publish" / "node"


def installed_node_example(folder: Path) -> Path:
    """Return a copy of the example in *folder* that can be run; skips where it cannot be had."""
    copy = folder / "node"
    copy.mkdir()
    for source in NODE.glob("*.mjs"):
        shutil.copy(source, copy)
    shutil.copy(NODE / "package.json", copy)
    (copy / "node_modules").symlink_to(node_modules(NODE))
    return copy
