"""The providers of a document at one moment: those that get mails, and those that are only asked about theirs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from postman.ports.provider import Provider
from postman.runtime.failover.route import Route

__all__ = ["Lineup", "held", "tried", "weights_of"]


@dataclass(frozen=True, slots=True)
class Lineup:
    """See the module."""

    version: str
    routes: Sequence[Route]
    asked: Sequence[Provider] = ()
    """Disabled: they get no mails, but mails that they may have are looked up there."""
    has_other_keys: bool = field(default=False)
    """Whether a key is another than before."""


def held(routes: Sequence[Route]) -> list[Route]:
    """Return *routes*, with their breakers as a person wants them from now on."""
    for route in routes:
        route.hold()
    return list(routes)


def tried(routes: Sequence[Route]) -> list[str]:
    """Return who gets mails at all, and so may tell whether anybody can be reached."""
    return [route.name for route in routes if not route.is_barred]


def weights_of(routes: Sequence[Route]) -> Mapping[str, float]:
    """Return each one's share of the traffic, against those of the others."""
    return {route.name: route.weight for route in routes}
