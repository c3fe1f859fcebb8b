"""Plants a mistake in the product's source: one place of a module is rewritten, and that is what is imported.

Only before anything of the product was imported, so for a process of its own.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

from tests.simulation.faults import Fault

__all__ = ["PlantError", "check", "plant"]


class PlantError(Exception):
    """The place was rewritten meanwhile, or is imported already."""


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, fault: Fault) -> None:
        super().__init__(name, path)
        self._fault = fault

    def path_stats(self, path: str) -> dict[str, object]:
        raise OSError("neither read from a cache nor written to one")

    def get_data(self, path: str) -> bytes:
        return _altered(super().get_data(path).decode(), self._fault).encode()


class _Finder(MetaPathFinder):
    def __init__(self, fault: Fault) -> None:
        self._fault = fault

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._fault.module:
            return None
        found = PathFinder.find_spec(fullname, path, target)
        if found is None or found.origin is None:
            raise PlantError(f"{self._fault.name}: there is no module {fullname}: plant it anew")
        return spec_from_loader(fullname, _Loader(fullname, found.origin, self._fault), origin=found.origin)


def plant(fault: Fault) -> None:
    """Let *fault* be in its module when it is imported."""
    if fault.module in sys.modules:
        raise PlantError(f"{fault.module} is imported already")
    sys.meta_path.insert(0, _Finder(fault))


def check(fault: Fault) -> None:
    """Raise `PlantError` unless the place of *fault* is there as it was."""
    found = find_spec(fault.module)
    if found is None or found.origin is None:
        raise PlantError(f"{fault.name}: there is no module {fault.module}: plant it anew")
    _altered(Path(found.origin).read_text(encoding="utf-8"), fault)


def _altered(text: str, fault: Fault) -> str:
    found = text.count(fault.old)
    if found != 1:
        raise PlantError(f"{fault.name}: its place is found {found} times in {fault.module}: plant it anew")
    return text.replace(fault.old, fault.new)
