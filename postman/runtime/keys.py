"""The keys that this process uses, kept from their first reading.

A key is read once. One that may change, `secret:ID` or a file, is looked at
again every minute, so that a rotation needs no restart; a pinned one never. What
cannot be looked at keeps its last value, whatever the reason: mails go on while
Secret Manager is away, and the provider is the judge of a key that was taken
back. That is logged once, as `keys_stale`, and `keys_fresh_again` at its end.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from hmac import compare_digest
from math import inf
from typing import Final

import structlog
from pydantic import SecretStr

from postman.ports.clock import Clock
from postman.ports.secrets import SecretError, SecretRefusedError, Secrets, SecretUnavailableError
from postman.runtime.surprise import reason_of

__all__ = ["REFRESH", "Keyring"]

_LOG = structlog.get_logger("postman.keys")

REFRESH: Final = 60.0
"""Seconds between two looks at one key: each costs one access, and there are a few keys for each process."""
_AT_ONCE: Final = 8


@dataclass(slots=True)
class _Key:
    value: SecretStr
    is_pinned: bool
    looked_at: float
    trouble: type[Exception] | None = None
    """Of what kind the last look's was."""


class Keyring:
    """See the module. *schemes* opens what reads the references of each scheme, once the first one is read.

    One asker owns it, since `refresh` tells each change once, and closes it. *every* is the seconds between two looks.
    """

    def __init__(self, schemes: Mapping[str, Callable[[], Secrets]], *, clock: Clock, every: float = REFRESH) -> None:
        self._schemes = schemes
        self._clock = clock
        self._every = every
        self._opened: dict[str, Secrets] = {}
        self._keys: dict[str, _Key] = {}
        self._refused: dict[str, tuple[float, str]] = {}
        """When it was refused, and why."""
        self._changed: set[str] = set()
        self._asking: dict[str, asyncio.Task[SecretStr]] = {}
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def read(self, reference: str) -> SecretStr:
        """Return the value that is known, or read it now; a few are read at once, and the same one only once.

        Raises `SecretRefusedError`, which stands as long as a value would before it is looked at again, and
        `SecretUnavailableError`, after which the next read tries anew. A caller that names the provider and the field
        adds the error's *problem* to them.
        """
        key = self._keys.get(reference)
        return key.value if key is not None else await self._read_first(reference)

    async def refresh(self, *, at_once: bool = False) -> frozenset[str]:
        """Look again at the keys whose time has come; return the references of those that changed since the last call.

        *at_once* looks at all that may change; else it costs nothing before that time, so may be called often. Raises
        nothing: what cannot be looked at stays.
        """
        if at_once:
            self._refused.clear()
        now = self._clock.now()
        due = {name: key for name, key in self._keys.items() if _is_due(key, now, 0.0 if at_once else self._every)}
        failures = await asyncio.gather(*(self._look(name, key) for name, key in due.items()))
        self._tell(due, failures)
        changed = frozenset(self._changed & self._keys.keys())
        self._changed.clear()
        if changed:
            _LOG.info("keys_changed", references=sorted(changed))
        return changed

    def retain(self, references: Collection[str]) -> None:
        """Forget all keys but these; what is forgotten is read anew when it is asked for."""
        self._keys = {name: key for name, key in self._keys.items() if name in references}
        self._refused = {name: refusal for name, refusal in self._refused.items() if name in references}

    async def aclose(self) -> None:
        """Close what was opened; reads under way fail, and nothing may be read any more. Twice is fine."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        for secrets in self._opened.values():
            await secrets.aclose()

    def _secrets(self, reference: str) -> Secrets:
        scheme, colon, rest = reference.partition(":")
        if not colon or not rest or scheme not in self._schemes:
            known = ", ".join(f"{each}:…" for each in sorted(self._schemes))
            raise SecretRefusedError("", f"must be a reference ({known}), never the key itself")
        if scheme not in self._opened:
            self._opened[scheme] = self._schemes[scheme]()
        return self._opened[scheme]

    async def _ask(self, reference: str) -> SecretStr:
        """Read *reference* by one task for all who ask now; one who is cancelled does not take it from the others."""
        task = self._asking.get(reference)
        if task is None:
            task = self._asking[reference] = asyncio.create_task(self._read(reference))
            task.add_done_callback(lambda done: self._forget(reference, done))
        await asyncio.wait({task})
        if task.cancelled():
            raise SecretUnavailableError(reference, "the keys were closed")
        return task.result()

    async def _read_first(self, reference: str) -> SecretStr:
        is_pinned = self._secrets(reference).is_pinned(reference)
        now = self._clock.now()
        refused_at, problem = self._refused.get(reference, (-inf, ""))
        if now - refused_at < self._every:
            raise SecretRefusedError(reference, problem)
        try:
            value = await self._ask(reference)
        except SecretRefusedError as error:
            self._refused[reference] = (now, error.problem)
            raise
        return self._keys.setdefault(reference, _Key(value, is_pinned, now)).value

    async def _read(self, reference: str) -> SecretStr:
        async with self._places:
            return await self._secrets(reference).read(reference)

    def _forget(self, reference: str, done: asyncio.Task[SecretStr]) -> None:
        del self._asking[reference]
        if not done.cancelled():
            done.exception()  # known to asyncio as seen, also where nobody waits any more

    async def _look(self, reference: str, key: _Key) -> Exception | None:
        key.looked_at = self._clock.now()
        try:
            value = await self._ask(reference)
        except Exception as error:  # noqa: BLE001 — whatever ails where keys lie, mails go on by what is known
            return error
        if not compare_digest(value.get_secret_value().encode(), key.value.get_secret_value().encode()):
            key.value = value
            self._changed.add(reference)
        return None

    def _tell(self, looked: Mapping[str, _Key], failures: Collection[Exception | None]) -> None:
        stale: dict[str, list[str]] = {}
        fresh = []
        for (reference, key), failure in zip(looked.items(), failures, strict=True):
            before, key.trouble = key.trouble, type(failure) if failure else None
            if failure and before is not type(failure):
                stale.setdefault(_reason(failure), []).append(reference)
            elif before and not failure:
                fresh.append(reference)
        for reason, references in stale.items():
            _LOG.warning("keys_stale", references=references, reason=reason)
        if fresh:
            _LOG.info("keys_fresh_again", references=fresh)


def _is_due(key: _Key, now: float, every: float) -> bool:
    return not key.is_pinned and now - key.looked_at >= every


def _reason(failure: Exception) -> str:
    return failure.problem if isinstance(failure, SecretError) else " at ".join(reason_of(failure).values())
