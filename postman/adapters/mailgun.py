"""Mailgun, by its v3 API.

Delivery semantics: one POST for a mail, a multipart form, never repeated. Only
``200`` with an ``id`` and a ``message`` that begins "Queued" is an acceptance:
Mailgun greets a wrong path with ``200`` too. Our id travels as the variable
``mail_id``, the `Message-ID` as ``h:Message-Id``. Mailgun has no idempotency
keys. It can be asked for a mail by its `Message-ID`; a found event counts if
its ``mail_id`` is ours. Its events may be half an hour behind.

Settings: *base_url* (default ``https://api.mailgun.net``; in the EU
``https://api.eu.mailgun.net``), *timeout*, *look_up_after* (default 1800
seconds); options *domain* (needed) and *webhook_key*.
"""

import re
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import httpx
import orjson

from postman.adapters._account import check_account
from postman.adapters._http import MAX_MESSAGE_ID, Reply
from postman.adapters._http_provider import HttpProvider
from postman.adapters._mailgun_payload import mailgun_form
from postman.adapters._observed import Dialect, HttpObserved
from postman.adapters._outcomes import USUAL_RULES, Rule, Shape, Wait, judge, retry_after_header, try_again_after
from postman.adapters._questions import ask
from postman.core.mail import Mail
from postman.errors import (
    ConfigError,
    CredentialsError,
    ProviderDownError,
    ProviderError,
    QuotaExceededError,
    RouteRefusedError,
    ThrottledError,
)
from postman.ports.observing import Answered, ObservedProvider, Traffic
from postman.ports.opening import ProviderSpec
from postman.ports.provider import Provider, Receipt

__all__ = ["Mailgun", "open_observed", "open_provider"]

_BASE_URL: Final = "https://api.mailgun.net"
_LOOK_UP_AFTER: Final = 1_800.0
_PAGE: Final = 100
_EVENTS: Final = "accepted OR delivered OR failed"
_DOMAIN: Final = re.compile(
    r"(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)+"
)


def _says(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_RULES: Final = (
    Rule((420, 429), ThrottledError, "too many requests"),
    Rule(range(400, 500), ThrottledError, "a limit is reached", _says("limit exceeded, try again after")),
    Rule((401,), CredentialsError, "the key is not accepted"),
    Rule((402,), QuotaExceededError, "the account must be paid"),
    Rule((400, 403), RouteRefusedError, "the domain may not send so much", _says("not allowed to send large batches")),
    Rule(
        (400, 403),
        ProviderDownError,
        "the account is not active",
        _says("activate your mailgun|account (?:is|was|has been) disabled|business verification"),
    ),
    Rule((400, 403), RouteRefusedError, "the domain may not send", _says("^Domain .* is not allowed to send")),
    Rule((403,), ProviderDownError, "the sending address is blocked", _says("^Rejected: IP")),
    Rule((403,), CredentialsError, "the key may not send"),
    Rule((400,), ProviderDownError, "the request arrived damaged", _says("malformed multipart|unexpected EOF")),
    Rule((404,), RouteRefusedError, "the domain is not known there", shapes=(Shape.JSON,)),
    *USUAL_RULES,
)
_WAITS: Final[tuple[Wait, ...]] = (retry_after_header, try_again_after)


class Mailgun(HttpProvider):
    """A Mailgun account and one of its domains; *transport* and *wall_clock* are for tests."""

    def __init__(
        self,
        spec: ProviderSpec,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        account = check_account(spec, base_url=_BASE_URL, look_up_after=_LOOK_UP_AFTER, options=("domain",))
        credentials = b64encode(f"api:{account.api_key.get_secret_value()}".encode()).decode()
        super().__init__(account, authorization=f"Basic {credentials}", transport=transport, wall_clock=wall_clock)
        self._path = f"/v3/{_domain(spec)}"

    async def send(self, mail: Mail, *, timeout: float | None = None) -> Receipt:
        request = self._http.request(
            "POST", f"{self._path}/messages", form=mailgun_form(mail, self.name, self._account.cluster)
        )
        reply = await self._hand_over(request, mail, timeout)
        receipt = _receipt(reply, self.name)
        if receipt is None:
            now = self._wall_clock()
            raise judge(_RULES, reply, _message(reply), provider=self.name, waits=_WAITS, now=now, mail=mail)
        return replace(receipt, is_recorded=self._is_recorded(reply))

    async def look_up(self, mail: Mail) -> Receipt | None:
        if not self.look_up_after:
            raise ProviderError("cannot be asked", provider=self.name)
        query = {"message-id": mail.message_id.strip("<>"), "event": _EVENTS, "limit": str(_PAGE)}
        request = self._http.request("GET", f"{self._path}/events", params=query)
        document = await ask(self._http, request, provider=self.name, now=self._wall_clock())
        match document:
            case {"items": [*events]}:
                return self._found(mail, events)
            case _:
                raise ProviderError("answered a look-up in a form that is not its own", provider=self.name)

    def _found(self, mail: Mail, events: list[object]) -> Receipt | None:
        """Return the receipt, if an event is of *mail*; one that does not say whose it is decides nothing."""
        owners = [_owner(event) for event in events]
        if mail.id in owners:
            return Receipt(self.name, mail.message_id)
        if None in owners or len(events) >= _PAGE:
            raise ProviderError("found events that may be of this mail", provider=self.name)
        return None


def open_provider(spec: ProviderSpec) -> Provider:
    """Open a Mailgun account; `ConfigError` names a wrong setting, an unknown option, or *domain* if it is missing."""
    return Mailgun(spec)


def open_observed(spec: ProviderSpec) -> ObservedProvider:
    """Open a Mailgun domain as the proxy sees it; `ConfigError` names a wrong setting."""
    path = f"/v3/{_domain(spec)}"
    takes = {("POST", f"{path}/messages"): Traffic.SEND, ("GET", f"{path}/events"): Traffic.LOOK_UP}
    return HttpObserved(spec, Dialect(_BASE_URL, takes, _receipt, _acceptance))


def _domain(spec: ProviderSpec) -> str:
    domain = spec.options.get("domain", "")
    if not _DOMAIN.fullmatch(domain.lower()):
        raise ConfigError(f"provider {spec.name}: option domain must be the domain that sends, as mg.example.org")
    return domain.lower()


def _receipt(reply: Reply, provider: str) -> Receipt | None:
    """Return the receipt, if Mailgun took the mail; it greets a wrong path with 200 too."""
    match reply.document():
        case {"id": str(message_id), "message": str(message)} if reply.status == httpx.codes.OK and message.startswith(
            "Queued"
        ):
            return Receipt(provider, message_id[:MAX_MESSAGE_ID])
        case _:
            return None


def _acceptance(receipt: Receipt) -> Answered:
    body = orjson.dumps({"id": receipt.message_id, "message": "Queued. Thank you."})
    return Answered(httpx.codes.OK, httpx.Headers({"content-type": "application/json"}), body)


def _message(reply: Reply) -> str:
    match reply.document():
        case {"message": str(message)}:
            return message
        case _:
            return "" if reply.is_html else reply.body[:2_000].decode("utf-8", "replace")


def _owner(event: object) -> str | None:
    """Return the id of the mail that *event* is about; None where it does not say."""
    match event:
        case {"user-variables": {"mail_id": str(mail_id)}}:
            return mail_id
        case _:
            return None
