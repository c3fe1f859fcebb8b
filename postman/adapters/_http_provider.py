"""What every provider that is reached over HTTP has: an account, its connections, and the time."""

import time
from collections.abc import Callable

import httpx

from postman.adapters._account import Account
from postman.adapters._http import HttpClient, Reply, shorter
from postman.adapters._proxied import is_recorded, send_through
from postman.core.mail import Mail

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
        base_url = f"{account.proxy}/{account.name}" if account.proxy else account.base_url
        self._http = HttpClient(account.name, base_url, headers={"authorization": authorization}, transport=transport)

    @property
    def name(self) -> str:
        return self._account.name

    @property
    def timeout(self) -> float:
        return self._account.timeout

    @property
    def look_up_after(self) -> float:
        return self._account.look_up_after

    @property
    def idempotent_for(self) -> float:
        return 0.0

    async def _hand_over(self, request: httpx.Request, mail: Mail, timeout: float | None) -> Reply:
        """Make the request that sends *mail*, directly or through the proxy; return the provider's answer."""
        patience = shorter(self.timeout, timeout)
        if not self._account.proxy:
            return await self._http.exchange(request, timeout=patience)
        return await send_through(self._http, request, mail, provider=self.name, timeout=patience)

    def _is_recorded(self, reply: Reply) -> bool:
        return bool(self._account.proxy) and is_recorded(reply)

    async def aclose(self) -> None:
        await self._http.aclose()
