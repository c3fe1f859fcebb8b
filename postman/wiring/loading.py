"""Finds adapters by scheme or kind, among what is installed."""

from collections.abc import Collection
from importlib.metadata import entry_points
from typing import Final

from postman.errors import ConfigError

__all__ = ["has", "load", "names"]

_NEEDS: Final = {"pubsub": "gcp", "firestore": "gcp", "secret": "gcp"}
"""Which extra brings the libraries of an adapter of ours."""


def has(group: str, name: str) -> bool:
    """Whether *group* knows *name*."""
    return name in entry_points(group=group).names


def names(group: str) -> Collection[str]:
    """Return all that *group* knows."""
    return entry_points(group=group).names


def load(group: str, name: str, setting: str) -> object:
    """Return what opens *name*; `ConfigError` names the *setting* where it is not known, or lacks a library."""
    known = entry_points(group=group)
    if name not in known.names:
        raise ConfigError(f"{setting}: {name!r} is not known; installed are {', '.join(sorted(known.names))}")
    try:
        return known[name].load()
    except ImportError as error:
        extra = f"; install postman[{_NEEDS[name]}]" if name in _NEEDS else ""
        raise ConfigError(f"{setting}: {name!r} lacks a library: {error.name}{extra}") from error
