"""The providers of a document at one moment: those that get mails, and those that are only asked about theirs."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from postman.ports.provider import Provider
from postman.runtime.failover.route import Route

__all__ = ["Lineup"]


@dataclass(frozen=True, slots=True)
class Lineup:
    """See the module."""

    version: str
    routes: Sequence[Route]
    asked: Sequence[Provider] = ()
    """Disabled: they get no mails, but mails that they may have are looked up there."""
    has_other_keys: bool = field(default=False)
    """Whether a key is another than before."""
