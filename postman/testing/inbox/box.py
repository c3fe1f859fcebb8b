"""The inbox that a test is given."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from postman.config import Settings
from postman.core.mail import Mail
from postman.core.wire import decode_message
from postman.ports.queue import Delivery
from postman.runtime.worker import Worker
from postman.testing.inbox.mails import Refused, SentMail, sent_mail
from postman.testing.inbox.providers import ProviderFaults
from postman.testing.inbox.stage import Stage
from postman.wiring import open_shards, open_worker

__all__ = ["Inbox"]

_TIMEOUT: Final = 5.0
_EVERY: Final = 0.01

_PROVIDERS: Final = """\
[[provider]]
name = "sendgrid"
kind = "sendgrid"
base_url = "{sendgrid}"
api_key = "env:SENDGRID_API_KEY"
timeout = 2.0
look_up_after = 0.2

[[provider]]
name = "mailgun"
kind = "mailgun"
weight = 0
domain = "mg.example.org"
base_url = "{mailgun}"
api_key = "env:MAILGUN_API_KEY"
timeout = 2.0
look_up_after = 0.2
"""


class Inbox:
    """What would have been sent, in the order in which the providers took it. Times in seconds.

    It may be used from the test's thread and, by `async_wait`, from an event loop.
    """

    def __init__(self, stage: Stage, folder: Path, *, deliver: bool = True) -> None:
        self._stage = stage
        self._deliver = deliver
        self._worker: Worker | None = None
        self._running: asyncio.Task[None] | None = None
        self._close: Callable[[], Awaitable[Any]] | None = None
        self._published: list[Mail] = []
        database = f"sqlite:{folder / 'postman.db'}"
        self.environ: Mapping[str, str] = {
            "POSTMAN_QUEUE": database,
            "POSTMAN_LEDGER": database,
            "POSTMAN_PROVIDERS": str(folder / "providers.toml"),
            "POSTMAN_SHARDS": "1",
            "POSTMAN_GRACE": "0.4",
            "POSTMAN_HEALTH_WINDOW": "0",
            "POSTMAN_DOUBT_WINDOW": "1",
            "SENDGRID_API_KEY": stage.settings.sendgrid_key,
            "MAILGUN_API_KEY": stage.settings.mailgun_key,
        }
        """What leads a process of its own to this inbox; in this process it is set already."""
        text = _PROVIDERS.format(sendgrid=stage.sandbox.sendgrid_url, mailgun=stage.sandbox.mailgun_url)
        (folder / "providers.toml").write_text(text, encoding="utf-8")
        self._settings = Settings.from_env(self.environ)

    def open(self) -> None:
        """Begin to deliver; for the fixture."""
        self._stage.run(self._open())

    def close(self) -> None:
        """Stop delivering, at once; for the fixture."""
        self._stage.run(self._end())

    @property
    def mails(self) -> list[SentMail]:
        """All that was sent so far."""
        return self._stage.run(self._sent())

    @property
    def refused(self) -> list[Refused]:
        """What was given up so far, with the reason."""
        return self._stage.run(self._dead())

    @property
    def published(self) -> list[Mail]:
        """What was published, where nothing is delivered (`@pytest.mark.postman(deliver=False)`)."""
        if self._deliver:
            raise RuntimeError("a worker takes what is published: mark the test with postman(deliver=False)")
        return self._stage.run(self._take_published())

    def wait(
        self, count: int = 1, *, timeout: float = _TIMEOUT, to: str = "", subject: str = "", tag: str = ""
    ) -> list[SentMail]:
        """Return the mails that were sent, once there are *count* at the least; `AssertionError` after *timeout*.

        *to* is an address, whatever its case, *subject* a part of the subject, *tag* a tag: only such mails count.
        """
        ends = time.monotonic() + timeout
        while True:
            found = [mail for mail in self.mails if _fits(mail, to, subject, tag)]
            if len(found) >= count:
                return found
            if time.monotonic() >= ends:
                raise AssertionError(self._instead(count, len(found), timeout))
            time.sleep(_EVERY)

    async def async_wait(self, count: int = 1, **more: Any) -> list[SentMail]:
        """Do what `wait` does without stopping the event loop."""
        return await asyncio.to_thread(self.wait, count, **more)

    def sole(self, *, timeout: float = _TIMEOUT, to: str = "", subject: str = "", tag: str = "") -> SentMail:
        """Return the one mail that was sent, or the one that fits, once nothing is under way any more."""
        self.wait(1, timeout=timeout, to=to, subject=subject, tag=tag)
        self.settle(timeout=timeout)
        found = [mail for mail in self.mails if _fits(mail, to, subject, tag)]
        assert len(found) == 1, f"one mail was expected, {len(found)} were sent: {_listed(found)}"
        return found[0]

    def assert_none(self, *, timeout: float = _TIMEOUT) -> None:
        """Wait until nothing is under way, then see that nothing was sent."""
        self.settle(timeout=timeout)
        found = self.mails
        assert not found, f"no mail was expected, {len(found)} were sent: {_listed(found)}"

    def settle(self, *, timeout: float = _TIMEOUT) -> None:
        """Return when all that was published has ended, well or not; `AssertionError` after *timeout*."""
        ends = time.monotonic() + timeout
        while waiting := self._stage.run(self._waiting()):
            if time.monotonic() >= ends:
                raise AssertionError(f"after {timeout:g} s {waiting} mails are still under way{self._seen()}")
            time.sleep(_EVERY)

    def provider(self, name: str) -> ProviderFaults:
        """Return what can go wrong at `sendgrid`, which mails go to, or `mailgun`, which takes over."""
        return ProviderFaults(self._stage, name)

    def _instead(self, count: int, found: int, timeout: float) -> str:
        waiting = self._stage.run(self._waiting())
        return f"{count} mails were expected within {timeout:g} s, {found} came{self._seen()}\nunder way: {waiting}"

    def _seen(self) -> str:
        return f"\nsent: {_listed(self.mails)}\ngiven up: {_listed(self.refused)}"

    async def _open(self) -> None:
        await self._stage.reset()
        shards = open_shards(self._settings)
        await shards.ensure()
        await shards.aclose()
        if self._deliver:
            self._worker, self._close = await open_worker(self._settings, {**os.environ, **self.environ})
            self._running = asyncio.create_task(self._worker.run())

    async def _end(self) -> None:
        if self._worker is None or self._running is None or self._close is None:
            return
        self._worker.stop()
        self._worker.stop()
        await self._running
        await self._close()

    async def _sent(self) -> list[SentMail]:
        return [sent_mail(each) for each in reversed(list(self._stage.sandbox.store.newest_first()))]

    async def _waiting(self) -> int:
        shards = open_shards(self._settings)
        try:
            return await shards.depth(0) or 0
        finally:
            await shards.aclose()

    async def _dead(self) -> list[Refused]:
        shards = open_shards(self._settings)
        try:
            taken = await _all_of(shards.dead(0).pull)
            await asyncio.gather(*(shards.dead(0).nack(each) for each in taken))
        finally:
            await shards.aclose()
        said = [each.message.attributes for each in taken]
        return [Refused(each.get("mail_id", ""), each["dead_reason"], each.get("dead_detail", "")) for each in said]

    async def _take_published(self) -> list[Mail]:
        shards = open_shards(self._settings)
        try:
            taken = await _all_of(shards.queue(0).pull)
            await asyncio.gather(*(shards.queue(0).ack(each) for each in taken))
        finally:
            await shards.aclose()
        self._published.extend(decode_message(each.message) for each in taken)
        return list(self._published)


async def _all_of(pull: Callable[..., Awaitable[Sequence[Delivery]]]) -> list[Delivery]:
    taken: list[Delivery] = []
    while found := await pull(max_deliveries=100, wait=0.0):
        taken.extend(found)
    return taken


def _fits(mail: SentMail, to: str, subject: str, tag: str) -> bool:
    return (not to or to.lower() in mail.recipients) and subject in mail.subject and (not tag or tag in mail.tags)


def _listed(found: Sequence[object]) -> str:
    return "".join(f"\n  {each}" for each in found) or "nothing"
