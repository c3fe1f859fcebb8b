"""The producer: publishes mails, from threads or from asyncio, in groups.

It runs its own event loop in a thread of its own, so that one producer serves
both kinds of callers. `publish` is done only when its future is: then the queue
has the mail, durably. A publish whose reply was lost is made again, which can
make two messages of one mail; the ledger sends it once.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import structlog

from postman.core.backoff import Backoff
from postman.core.ids import MailId
from postman.core.layout import Layout
from postman.core.mail import Mail
from postman.core.message import key_of
from postman.core.wire import message_for
from postman.errors import QueueUnavailableError
from postman.ports.clock import Clock
from postman.ports.layouts import Layouts
from postman.ports.queue import Message, ShardMap
from postman.runtime.following import Following

__all__ = ["PATIENCE", "Producer"]

_LOG = structlog.get_logger("postman.producer")

PATIENCE: Final = 60.0
_AT_ONCE: Final = 2_000
_QUIET: Final = 5.0
_LONGEST_LOOK: Final = 3.0
"""Seconds that a mail waits at the most for word of the layout: the first, or one after the process was frozen."""


class Producer:
    """Publishes mails; make one for the whole process, and close it: closing waits for what is under way.

    *open_shards* and *open_layouts* are called in the producer's own thread; without the latter, or where it returns
    None, the shards are those of the settings, with *hand* (see `Layout`).

    A mail that cannot be published within *patience* seconds fails with `QueueUnavailableError`; it may
    then be in the queue or not, and publishing it again is safe.
    """

    def __init__(
        self,
        open_shards: Callable[[], ShardMap],
        *,
        clock: Clock,
        patience: float = PATIENCE,
        open_layouts: Callable[[], Layouts | None] = lambda: None,
        hand: int = 0,
    ) -> None:
        self._open_shards = open_shards
        self._open_layouts = open_layouts
        self._hand = hand
        self._clock = clock
        self._patience = patience
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._opened: _Opened | None = None
        self._opening = asyncio.Lock()
        self._open: set[Future[Any]] = set()
        self._is_closed = False
        self._tell_again_at = 0.0

    def publish(self, mail: Mail, *, trace: Mapping[str, str] | None = None, key: str = "") -> "Future[MailId]":
        """Publish *mail*; the future holds its id once the queue has it. Thread-safe, and never blocks.

        Where a layout keeps classes of mails apart, it goes by *key*, or by the mail's tenant where that is empty.
        Raises `InvalidMailError` at once for a mail that is scheduled too far ahead.
        """
        mail.check_times(self._clock.time())
        return self._submit(self._publish(mail.id, message_for(mail, trace=trace or {}, key=key)))

    async def apublish(self, mail: Mail, *, trace: Mapping[str, str] | None = None, key: str = "") -> MailId:
        """Publish *mail* from asyncio; return its id once the queue has it."""
        return await asyncio.wrap_future(self.publish(mail, trace=trace, key=key))

    def shard_of(self, mail_id: MailId, key: str = "") -> int | None:
        """Return where a mail of the tenant or class *key* goes, as far as this producer knows by now.

        None until it has begun to publish. Thread-safe.
        """
        opened = self._opened
        return None if opened is None else opened.following.layout.shard_of(mail_id, key)

    def close(self) -> None:
        """Wait for everything under way, then close; closing twice is fine."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._finish(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    def _submit(self, publishing: "Coroutine[Any, Any, MailId]") -> "Future[MailId]":
        with self._lock:
            if self._is_closed:
                publishing.close()
                raise RuntimeError("the producer is closed")
            future = asyncio.run_coroutine_threadsafe(publishing, self._running_loop())
            self._open.add(future)
        future.add_done_callback(self._open.discard)
        return future

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            loop = asyncio.new_event_loop()
            self._loop = loop
            self._thread = threading.Thread(target=self._run, args=(loop,), name="postman-producer", daemon=True)
            self._thread.start()
        return self._loop

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    async def _publish(self, mail_id: MailId, message: Message) -> MailId:
        opened = self._opened or await self._open_all()
        if opened.following.is_stale:
            await _look(opened.following)
        async with opened.places:
            await self._insist(opened, mail_id, message)
        return mail_id

    async def _open_all(self) -> "_Opened":
        """Open the queues, and learn of the layout if that does not take long."""
        async with self._opening:
            if self._opened is None:
                shards, layouts = self._open_shards(), self._open_layouts()
                settled = Layout.of(shards.count, hand=self._hand)
                following = Following(settled, clock=self._clock, store=layouts)
                await _look(following)
                follows = asyncio.create_task(following.run())
                self._opened = _Opened(shards, layouts, following, follows, asyncio.Semaphore(_AT_ONCE))
        return self._opened

    async def _insist(self, opened: "_Opened", mail_id: MailId, message: Message) -> None:
        waits = Backoff(0.2, longest=5.0)
        until = self._clock.now() + self._patience
        while True:
            try:
                shard = opened.following.layout.shard_of(mail_id, key_of(message))
                return await opened.shards.queue(shard).publish(message)
            except QueueUnavailableError as error:
                pause = waits.next()
                if self._clock.now() + pause > until:
                    raise
                self._tell(mail_id, error)
                await self._clock.sleep(pause)

    def _tell(self, mail_id: MailId, error: QueueUnavailableError) -> None:
        """Log an outage now and then, not for each of the mails that wait for its end."""
        now = self._clock.now()
        if now >= self._tell_again_at:
            self._tell_again_at = now + _QUIET
            _LOG.warning("publish_failed", mail_id=mail_id, waiting=len(self._open), reason=str(error))

    async def _finish(self) -> None:
        await asyncio.gather(*map(asyncio.wrap_future, list(self._open)), return_exceptions=True)
        if self._opened is not None:
            await self._opened.aclose()


async def _look(following: Following) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(following.try_to_look(), _LONGEST_LOOK)


@dataclass(frozen=True, slots=True)
class _Opened:
    """What a producer has from its first mail on."""

    shards: ShardMap
    layouts: Layouts | None
    following: Following
    follows: "asyncio.Task[None]"
    places: asyncio.Semaphore

    async def aclose(self) -> None:
        self.follows.cancel()
        await asyncio.gather(self.follows, return_exceptions=True)
        await self.shards.aclose()
        if self.layouts is not None:
            await self.layouts.aclose()
