"""One signature, one body."""

from contextlib import suppress

import pytest

from postman.errors import ForgedEventError, LedgerUnavailableError
from postman.runtime.nonces import Nonces

HOUR = 3_600.0


def use(nonces: Nonces, nonce: str = "n", body: bytes = b"one", *, provider: str = "a", now: float = 0.0) -> bool:
    with nonces.use(provider, nonce, body, now=now) as is_known:
        return is_known


def test_the_same_body_again_is_a_repetition() -> None:
    nonces = Nonces()

    assert [use(nonces), use(nonces), use(nonces)] == [False, True, True]


def test_another_body_is_a_forgery_and_does_not_take_the_place() -> None:
    nonces = Nonces()
    use(nonces)

    for _ in range(2):
        with pytest.raises(ForgedEventError):
            use(nonces, body=b"two")
    assert use(nonces)


def test_providers_and_nonces_do_not_get_in_each_other_s_way() -> None:
    nonces = Nonces()

    assert [use(nonces), use(nonces, "m", b"two"), use(nonces, body=b"two", provider="b")] == [False] * 3


def test_without_a_nonce_nothing_is_kept() -> None:
    nonces = Nonces()

    assert [use(nonces, ""), use(nonces, "", b"two"), len(nonces)] == [False, False, 0]


def test_what_failed_here_may_come_again_in_another_form() -> None:
    """Providers do not promise that a repetition is the same to the byte."""
    nonces = Nonces()
    with pytest.raises(LedgerUnavailableError), nonces.use("a", "n", b"one", now=0.0):
        raise LedgerUnavailableError("away")

    assert not use(nonces, body=b"two")


def test_what_succeeded_once_is_kept_whatever_fails_later() -> None:
    nonces = Nonces()
    use(nonces)
    with pytest.raises(LedgerUnavailableError), nonces.use("a", "n", b"one", now=0.0):
        raise LedgerUnavailableError("away")

    with pytest.raises(ForgedEventError):
        use(nonces, body=b"two")


def test_two_bodies_at_the_same_moment_are_not_both_taken() -> None:
    nonces = Nonces()

    with nonces.use("a", "n", b"one", now=0.0):
        with pytest.raises(ForgedEventError):
            use(nonces, body=b"two")
        assert not use(nonces)  # the same at the same moment: both are dealt with


def test_the_second_of_two_at_once_keeps_it_where_the_first_fails() -> None:
    nonces = Nonces()
    with suppress(LedgerUnavailableError), nonces.use("a", "n", b"one", now=0.0):
        use(nonces)
        raise LedgerUnavailableError("away")

    assert use(nonces)


def test_it_is_forgotten_when_no_source_takes_it_any_more() -> None:
    nonces = Nonces()
    use(nonces, "old", now=0.0)
    use(nonces, "other", now=8.6 * HOUR)
    assert len(nonces) == 2

    use(nonces, "new", now=9.1 * HOUR)

    assert len(nonces) == 2
    assert not use(nonces, "old", b"two", now=9.1 * HOUR)


def test_where_there_is_no_room_the_oldest_goes() -> None:
    nonces = Nonces(most=3)
    for name in "abcd":
        use(nonces, name)

    assert len(nonces) == 3
    assert [use(nonces, name) for name in "bcd"] == [True] * 3
