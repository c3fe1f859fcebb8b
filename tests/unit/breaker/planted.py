"""Builds the breaker's package a second time, with a fault planted in its source."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from itertools import count
from pathlib import Path

import postman.breaker
from tests.unit.breaker.faults import Fault
from tests.unit.breaker.kit import Kit, kit_of

__all__ = ["planted"]

_SOURCE = Path(postman.breaker.__file__).parent
_NUMBERS = count()


@contextmanager
def planted(fault: Fault | None, folder: Path, source: Path = _SOURCE) -> Iterator[Kit]:
    """Yield the package with *fault*, if any, made in *folder*, and importable until the end."""
    name = f"planted_breaker_{next(_NUMBERS)}"
    target = folder / name
    target.mkdir()
    for path in source.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        if fault is not None and path.stem == fault.module:
            text = _with(fault, text)
        (target / path.name).write_text(text.replace("postman.breaker", name), encoding="utf-8")
    try:
        yield _imported(name, target)
    finally:
        for module in [module for module in sys.modules if module.split(".")[0] == name]:
            del sys.modules[module]


def _with(fault: Fault, text: str) -> str:
    found = text.count(fault.old)
    assert found == 1, f"{fault.name}: its place is found {found} times in {fault.module}: plant it anew"
    return text.replace(fault.old, fault.new)


def _imported(name: str, folder: Path) -> Kit:
    spec = spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec is not None
    assert spec.loader is not None
    package = module_from_spec(spec)
    sys.modules[name] = package
    spec.loader.exec_module(package)
    return kit_of(package)
