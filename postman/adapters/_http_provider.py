"""What every provider that is reached over HTTP has: an account, its connections, and the time."""

import time
from collections.abc import Callable

import httpx

from postman.adapters._account import Account
from postman.adapters._http import HttpClient

__all__ = ["HttpProvider"]


class HttpProvider:
    """The part of the port that is the same for all; a kind adds `send` and `look_up`.

    *authorization* is the header that proves who we are. *transport* and *wall_clock* are for tests.
    """

    def __init__(
        self,
        account: Account,
        *,
        authorization: str,
        transport: httpx.AsyncBaseTransport | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._account = account
        self._wall_clock = wall_clock
        self._http = HttpClient(
            account.name, account.base_url, headers={"authorization": authorization}, transport=transport
        )

    @property
    def name(self) -> str:
        return self._account.name

    @property
    def timeout(self) -> float:
        return self._account.timeout

    @property
    def look_up_after(self) -> float:
        return self._account.look_up_after

    async def aclose(self) -> None:
        await self._http.aclose()
