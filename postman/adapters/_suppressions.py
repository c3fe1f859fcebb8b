"""What all suppression lists share: the rules of their changes, and how long they keep what counts no more."""

from dataclasses import replace
from math import inf
from typing import Final

from postman.core.suppression import Suppression, SuppressionReason

__all__ = ["PAGE", "added", "forget_at", "lifted", "reason_named"]

PAGE: Final = 1_000
"""Suppressions in one answer of `changes`."""

_DAY: Final = 86_400.0
_LIFTED_FOR: Final = 7 * _DAY
"""Longer than any provider repeats the news of a bounce that came before the lifting."""


def added(old: Suppression | None, new: Suppression) -> Suppression | None:
    """Return what stands there once *new* was put on the list; None where that changes nothing."""
    if old is None:
        return new
    if old.is_lifted:
        return new if new.since > old.since or new.reason is SuppressionReason.ADDED else None
    return new if _ends(new) > _ends(old) else None


def lifted(old: Suppression | None, now: float) -> Suppression | None:
    """Return what is kept of *old* once it was taken off the list; None where it does not stand there."""
    if old is None or not old.holds_at(now):
        return None
    return replace(old, is_lifted=True, since=now)


def forget_at(suppression: Suppression) -> float | None:
    """Return when it may be deleted, in seconds since 1970: a while after it ended, so that all workers heard of it."""
    if suppression.is_lifted:
        return suppression.since + _LIFTED_FOR
    return None if suppression.expires_at is None else suppression.expires_at + _DAY


def reason_named(text: str) -> SuppressionReason:
    """Return the reason called *text*; one of a newer postman holds as well as a person's."""
    return SuppressionReason(text) if text in set(SuppressionReason) else SuppressionReason.ADDED


def _ends(suppression: Suppression) -> float:
    return inf if suppression.expires_at is None else suppression.expires_at
