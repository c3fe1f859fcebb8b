"""A delivery is settled once, and what is remembered of that is bounded."""

import asyncio

import pytest

from postman.adapters._settling import Settling
from postman.errors import DeliverySettledError, QueueUnavailableError


def _settle(settling: Settling, receipt: str) -> None:
    with settling.once(receipt):
        pass


def test_each_receipt_is_settled_once() -> None:
    settling = Settling()
    _settle(settling, "a")
    _settle(settling, "b")

    with pytest.raises(DeliverySettledError):
        _settle(settling, "a")
    assert "a" in settling
    assert "c" not in settling


def test_what_is_being_settled_counts_as_settled() -> None:
    settling = Settling()
    with settling.once("a"), pytest.raises(DeliverySettledError):
        _settle(settling, "a")


def test_a_refused_second_settling_leaves_the_first_in_force() -> None:
    settling = Settling()
    _settle(settling, "a")
    for _ in range(2):
        with pytest.raises(DeliverySettledError):
            _settle(settling, "a")


def test_a_settling_that_failed_can_be_tried_again() -> None:
    settling = Settling()
    with pytest.raises(QueueUnavailableError), settling.once("a"):
        raise QueueUnavailableError("no answer")
    _settle(settling, "a")

    with pytest.raises(DeliverySettledError):
        _settle(settling, "a")


def test_a_settling_that_was_cancelled_may_have_happened_and_is_not_repeated() -> None:
    settling = Settling()
    with pytest.raises(asyncio.CancelledError), settling.once("a"):
        raise asyncio.CancelledError

    with pytest.raises(DeliverySettledError):
        _settle(settling, "a")


def test_the_oldest_are_forgotten_first() -> None:
    settling = Settling(limit=3)
    for receipt in "abcd":
        _settle(settling, receipt)

    assert [receipt in settling for receipt in "abcd"] == [False, True, True, True]


def test_the_error_does_not_show_the_receipt() -> None:
    """It may acknowledge a mail for whoever reads the log."""
    settling = Settling()
    _settle(settling, "projects/p/subscriptions/s:1")
    with pytest.raises(DeliverySettledError) as caught:
        _settle(settling, "projects/p/subscriptions/s:1")

    assert "projects" not in str(caught.value)
