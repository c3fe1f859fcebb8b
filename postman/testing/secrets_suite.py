"""The contract of the port `Secrets`, as tests.

Subclass `SecretsSuite` and give it the fixtures *secrets*, and *keeper*, which
puts values where the adapter finds them, by the back door.
"""

import asyncio
import logging
import re
import traceback
from typing import Protocol

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from postman.ports.secrets import SecretError, SecretRefusedError, Secrets

__all__ = ["CANARY", "KeyKeeper", "SecretsSuite", "refusal_of", "shows"]

CANARY = "canary-3f9a71"
"""Is in each value, and nowhere else."""

_KEY = f"SG.{CANARY}.x"
_UNFIT = [
    (b"", "empty|not set"),
    (b" \r\n\t ", "empty"),
    (f"{CANARY}\xff".encode("latin-1"), "not UTF-8"),
    (_KEY.encode("utf-16"), "not UTF-8"),
    (f"\ufeff{_KEY}".encode(), "byte order mark"),
    (f"{CANARY}\x1b[2J".encode(), "control characters"),
    (CANARY.encode().ljust(65_537, b"x"), "more than 65536 bytes"),
]


class KeyKeeper(Protocol):
    """Where the keys of one scheme lie."""

    def put(self, name: str, value: bytes) -> str:
        """Put *value* in the place of what was there; return a reference to it."""
        ...

    def missing(self) -> str:
        """Return a reference that is well formed and names nothing."""
        ...

    def malformed(self) -> list[str]:
        """Return references of this scheme that are none, each with the canary in it."""
        ...


def shows(error: BaseException | None, words: str) -> bool:
    """Whether *words* can be seen in an error, in its traceback, or in whatever led to it."""
    while error is not None:
        if words in repr(error) + str(error) + "".join(traceback.format_exception(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


async def refusal_of(secrets: Secrets, reference: str) -> SecretError:
    """Return the error that a read ends with; the canary is not to be seen in it."""
    with pytest.raises(SecretError) as caught:
        await secrets.read(reference)
    assert not shows(caught.value, CANARY)
    return caught.value


class SecretsSuite:
    """See the module."""

    async def test_a_value_is_read_without_the_white_space_around_it(self, secrets: Secrets, keeper: KeyKeeper) -> None:
        """Editors and `echo` end a file with a line end, which is no part of a key."""
        reference = keeper.put("key", f" {_KEY}\r\n".encode())

        value = await secrets.read(reference)

        assert isinstance(value, SecretStr)
        assert value.get_secret_value() == _KEY

    async def test_a_key_of_several_lines_is_read_whole(self, secrets: Secrets, keeper: KeyKeeper) -> None:
        """As PEM has it."""
        pem = f"-----BEGIN KEY-----\n{CANARY}\tä\n-----END KEY-----"

        assert (await secrets.read(keeper.put("pem", pem.encode()))).get_secret_value() == pem

    async def test_the_longest_value_is_read(self, secrets: Secrets, keeper: KeyKeeper) -> None:
        """64 KiB, as Secret Manager has it."""
        value = await secrets.read(keeper.put("long", b"x" * 65_536))

        assert len(value.get_secret_value()) == 65_536

    @pytest.mark.parametrize(("value", "problem"), _UNFIT, ids=range(len(_UNFIT)))
    async def test_what_cannot_be_a_key_is_refused(
        self, secrets: Secrets, keeper: KeyKeeper, value: bytes, problem: str
    ) -> None:
        """The reference is named, the value is not to be seen."""
        reference = keeper.put("unfit", value)

        error = await refusal_of(secrets, reference)

        assert isinstance(error, SecretRefusedError)
        assert str(error) == f"{reference}: {error.problem}"
        assert re.search(problem, error.problem)

    async def test_what_is_not_there_is_refused(self, secrets: Secrets, keeper: KeyKeeper) -> None:
        """It is named, so that somebody can make it."""
        error = await refusal_of(secrets, keeper.missing())

        assert isinstance(error, SecretRefusedError)
        assert error.reference == keeper.missing()

    async def test_a_malformed_reference_is_refused_and_not_repeated(self, secrets: Secrets, keeper: KeyKeeper) -> None:
        """Somebody may have written the key itself there."""
        for reference in keeper.malformed():
            assert CANARY in reference
            assert isinstance(await refusal_of(secrets, reference), SecretRefusedError)
            with pytest.raises(SecretRefusedError) as caught:
                secrets.is_pinned(reference)
            assert not shows(caught.value, CANARY)

    async def test_a_new_value_is_read_anew(self, secrets: Secrets, keeper: KeyKeeper) -> None:
        """Nothing is kept here: that is the keyring's."""
        await secrets.read(keeper.put("key", b"old"))

        assert (await secrets.read(keeper.put("key", b"new"))).get_secret_value() == "new"

    async def test_many_are_read_at_once(self, secrets: Secrets, keeper: KeyKeeper) -> None:
        """Each gets its own."""
        references = [keeper.put(f"key_{number}", f"value-{number}".encode()) for number in range(20)]

        values = await asyncio.gather(*map(secrets.read, references))

        assert [each.get_secret_value() for each in values] == [f"value-{number}" for number in range(20)]

    async def test_no_value_is_to_be_seen(
        self, secrets: Secrets, keeper: KeyKeeper, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Neither in what stands for it, nor in a log, whatever its level."""
        caplog.set_level(logging.DEBUG)
        with capture_logs() as events:
            value = await secrets.read(keeper.put("key", _KEY.encode()))

        assert CANARY not in f"{value!r} {value} {secrets!r} {secrets} {events} {caplog.text}"

    async def test_closing_twice_is_fine(self, secrets: Secrets) -> None:
        """Also before anything was read."""
        await secrets.aclose()
        await secrets.aclose()
