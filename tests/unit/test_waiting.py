"""Waiting for a predicate."""

import time

import pytest

from postman.testing.waiting import wait_until, wait_until_blocking


async def test_the_true_answer_is_returned() -> None:
    answers = iter([0, 0, 7])

    assert await wait_until(lambda: next(answers), within=5, every=0) == 7


async def test_an_asynchronous_predicate_is_awaited() -> None:
    """A coroutine is itself true; its result is what counts."""
    answers = iter([False, True])

    async def ask() -> bool:
        return next(answers)

    assert await wait_until(ask, within=5, every=0)
    assert next(answers, None) is None


async def test_waiting_ends_at_its_limit() -> None:
    started = time.monotonic()

    with pytest.raises(TimeoutError, match=r"the mail did not come true within 0\.05 seconds"):
        await wait_until(lambda: False, within=0.05, every=0.01, what="the mail")

    assert time.monotonic() - started >= 0.05


def test_a_thread_waits_likewise() -> None:
    answers = iter(["", "sent"])

    assert wait_until_blocking(lambda: next(answers), within=5, every=0) == "sent"
    with pytest.raises(TimeoutError):
        wait_until_blocking(lambda: None, within=0.02, every=0.01)
