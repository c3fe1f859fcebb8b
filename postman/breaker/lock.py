"""A lock that knows whose it is.

The garbage collector may run while a thread holds the lock, and close there an
abandoned coroutine whose guarded call then reports its end, on this very
thread. Waiting for the lock would be waiting for ever.
"""

import threading
from types import TracebackType

__all__ = ["OwnedLock"]


class OwnedLock:
    """Not reentrant; `RuntimeError` instead of a deadlock for whoever tries."""

    __slots__ = ("_lock", "_owner")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = 0

    @property
    def is_mine(self) -> bool:
        """Whether this thread holds it, further up the stack."""
        return self._owner == threading.get_ident()

    def __enter__(self) -> None:
        if self.is_mine:
            raise RuntimeError("a breaker's clock, random source or a finalizer must not call that breaker")
        self._lock.acquire()
        self._owner = threading.get_ident()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self._owner = 0
        self._lock.release()
