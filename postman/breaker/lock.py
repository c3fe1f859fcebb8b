"""A lock that lets nobody in twice.

The garbage collector may run while a thread holds the lock, and close there an
abandoned coroutine whose guarded call then reports its end, on this very
thread. A plain lock would wait for ever, a reentrant one would let it change
what is half changed. The collector may also run right before the lock is marked
as busy, or right after: then nothing is half changed, and it may come in.
"""

import threading
from types import TracebackType

__all__ = ["OneAtATime"]


class OneAtATime:
    """In a ``with`` statement: `RuntimeError` instead of a deadlock for whoever is inside already."""

    __slots__ = ("_is_busy", "_lock")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._is_busy = False

    def enter(self) -> bool:
        """Wait for other threads and go in; False, and not in, where this thread is inside, further up the stack."""
        self._lock.acquire()
        if self._is_busy:
            self._lock.release()
            return False
        self._is_busy = True
        return True

    def leave(self) -> None:
        self._is_busy = False
        self._lock.release()

    def __enter__(self) -> None:
        if not self.enter():
            raise RuntimeError("a breaker's clock, random source or a finalizer must not call that breaker")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.leave()
