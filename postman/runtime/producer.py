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
from types import TracebackType
from typing import Any, Final, Self

import structlog

from postman.core.backoff import Backoff
from postman.core.ids import MailId
from postman.core.mail import Mail
from postman.core.shards import shard_for
from postman.core.wire import message_for
from postman.errors import QueueUnavailableError
from postman.ports.clock import Clock
from postman.ports.queue import Message, ShardMap

__all__ = ["Producer"]

_LOG = structlog.get_logger("postman.producer")

_PATIENCE: Final = 60.0
_AT_ONCE: Final = 2_000
_QUIET: Final = 5.0


class Producer:
    """Publishes mails; make one for the whole process, and close it: closing waits for what is under way.

    *open_shards* is called in the producer's own thread. A mail that cannot be published within *patience* seconds
    fails with `QueueUnavailableError`; it may then be in the queue or not, and publishing it again is safe.
    """

    def __init__(self, open_shards: Callable[[], ShardMap], *, clock: Clock, patience: float = _PATIENCE) -> None:
        self._open_shards = open_shards
        self._clock = clock
        self._patience = patience
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._shards: ShardMap | None = None
        self._places: asyncio.Semaphore | None = None
        self._open: set[Future[Any]] = set()
        self._is_closed = False
        self._tell_again_at = 0.0

    def publish(self, mail: Mail, *, trace: Mapping[str, str] | None = None) -> "Future[MailId]":
        """Publish *mail*; the future holds its id once the queue has it. Thread-safe, and never blocks.

        Raises `InvalidMailError` at once for a mail that is scheduled too far ahead.
        """
        mail.check_times(self._clock.time())
        return self._submit(self._publish(mail.id, message_for(mail, trace=trace or {})))

    async def apublish(self, mail: Mail, *, trace: Mapping[str, str] | None = None) -> MailId:
        """Publish *mail* from asyncio; return its id once the queue has it."""
        return await asyncio.wrap_future(self.publish(mail, trace=trace))

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
        if self._shards is None or self._places is None:
            self._shards = self._open_shards()
            self._places = asyncio.Semaphore(_AT_ONCE)
        async with self._places:
            await self._insist(self._shards, mail_id, message)
        return mail_id

    async def _insist(self, shards: ShardMap, mail_id: MailId, message: Message) -> None:
        queue = shards.queue(shard_for(mail_id, shards.count))
        waits = Backoff(0.2, longest=5.0)
        until = self._clock.now() + self._patience
        while True:
            try:
                return await queue.publish(message)
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
        if self._shards is not None:
            await self._shards.aclose()
