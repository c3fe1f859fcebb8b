"""Posts signed events to the customer's webhook as the providers do: later, again after a failure, not for ever."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

import aiohttp

from postman.sandbox.imitation import EventPost, Imitation
from postman.sandbox.mails import SentMail
from postman.sandbox.settings import Tunables

__all__ = ["Webhooks"]

_ATTEMPTS = 5
_FIRST_PAUSE = 0.2
_TIMEOUT = 10.0
_MOST_AT_ONCE = 8
_BATCH = 100
_STOP_RETRYING = 406


class Webhooks:
    """The events of one provider. Use it as a context: leaving it drops what was not posted yet."""

    def __init__(self, imitation: Imitation, tunables: Callable[[], Tunables], *, now: Callable[[], float]) -> None:
        self._imitation = imitation
        self._tunables = tunables
        self._now = now
        self._waiting: deque[SentMail] = deque()
        self._arrived = asyncio.Event()
        self._slots = asyncio.Semaphore(_MOST_AT_ONCE)
        self._posting: set[asyncio.Task[None]] = set()
        self._loop_task: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None
        self.delivered = 0
        """Posts that the webhook took."""
        self.given_up = 0
        """Posts that it did not take at any attempt."""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT))
        self._loop_task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [*self._posting, *([self._loop_task] if self._loop_task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def accepted(self, mails: Sequence[SentMail]) -> None:
        """Note that *mails* have events to tell; costs nothing where there is no webhook."""
        if self._tunables().webhook_url is not None:
            self._waiting.extend(mails)
            self._arrived.set()

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            await asyncio.sleep(max(0.0, self._seconds_until_due(self._waiting[0])))
            mails = list(self._take_due())
            if not self._waiting:
                self._arrived.clear()
            url = self._tunables().webhook_url
            for post in self._imitation.event_posts(mails) if url is not None else ():
                await self._start(url or "", post)

    def _seconds_until_due(self, mail: SentMail) -> float:
        return mail.accepted_at + self._tunables().event_delay - self._now()

    def _take_due(self) -> Iterator[SentMail]:
        """Take the first, which was waited for, and what is due besides."""
        yield self._waiting.popleft()
        for _ in range(min(len(self._waiting), _BATCH - 1)):
            if self._seconds_until_due(self._waiting[0]) > 0:
                return
            yield self._waiting.popleft()

    async def _start(self, url: str, post: EventPost) -> None:
        await self._slots.acquire()
        task = asyncio.create_task(self._deliver(url, post))
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)
        task.add_done_callback(lambda _: self._slots.release())

    async def _deliver(self, url: str, post: EventPost) -> None:
        for attempt in range(_ATTEMPTS):
            status = await self._post(url, post)
            if status is not None and 200 <= status < 300:
                self.delivered += 1
                return
            if status == _STOP_RETRYING:
                break
            await asyncio.sleep(_FIRST_PAUSE * 2**attempt)
        self.given_up += 1

    async def _post(self, url: str, post: EventPost) -> int | None:
        """Return the status; None if there was none."""
        if self._session is None:
            return None
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError, ValueError):
            async with self._session.post(url, data=post.body, headers=post.headers, allow_redirects=False) as answer:
                return answer.status
        return None
