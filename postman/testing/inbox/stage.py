"""What all inboxes of a test run share: a thread with an event loop, and in it the sandbox."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from postman.sandbox import Sandbox, SandboxSettings

__all__ = ["Stage"]

_T = TypeVar("_T")

_LONGEST: Final = 30.0


class Stage:
    """See the module; started once, closed at the end of the run."""

    def __init__(self) -> None:
        self.settings = SandboxSettings(mailgun_domains=("*",))
        self.sandbox = Sandbox(self.settings)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="postman-inbox", daemon=True)
        self._thread.start()
        self.run(self.sandbox.__aenter__())

    def run(self, doing: Coroutine[Any, Any, _T], within: float = _LONGEST) -> _T:
        """Do something in the loop, from any other thread; `TimeoutError` after *within* seconds."""
        future = asyncio.run_coroutine_threadsafe(doing, self._loop)
        try:
            return future.result(within)
        except TimeoutError:
            future.cancel()
            raise

    async def reset(self) -> None:
        """Forget mails and faults."""
        self.sandbox.forget()
        await self.sandbox.faults.clear()

    def close(self) -> None:
        """End the sandbox, the loop and the thread."""
        self.run(self.sandbox.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
