"""The clock of the machine."""

import asyncio
import time

__all__ = ["SystemClock"]


class SystemClock:
    """Real time: monotonic for leases, the wall's for dates."""

    def now(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0.0))
