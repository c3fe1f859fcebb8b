"""SendGrid, by its v3 API.

Delivery semantics: one POST for a mail, all recipients in one personalization,
never repeated. Only ``202`` is an acceptance. Our id travels as the custom
argument ``mail_id`` and comes back in every event; the `Message-ID` is ours.
SendGrid has no idempotency keys. It can be asked for a mail by our id only with
the paid "additional email activity history", and with a key that may read it;
without, leave *look_up_after* at 0.

Settings: *base_url* (default ``https://api.sendgrid.com``; in the EU
``https://api.eu.sendgrid.com``), *timeout*, *look_up_after* (default 0: it
cannot be asked); option *webhook_key*.
"""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import httpx

from postman.adapters._account import check_account
from postman.adapters._http import MAX_MESSAGE_ID, Reply
from postman.adapters._http_provider import HttpProvider
from postman.adapters._observed import Dialect, HttpObserved
from postman.adapters._outcomes import USUAL_RULES, Rule, Wait, judge, rate_limit_reset, retry_after_header
from postman.adapters._questions import ask
from postman.adapters._sendgrid_payload import sendgrid_payload
from postman.core.mail import Mail
from postman.errors import (
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

__all__ = ["SendGrid", "open_observed", "open_provider"]

_BASE_URL: Final = "https://api.sendgrid.com"
_SEND: Final = "/v3/mail/send"
_ASK: Final = "/v3/messages"

_RULES: Final = (
    Rule((401, 402, 403), QuotaExceededError, "no credits are left", re.compile("credits exceeded", re.IGNORECASE)),
    Rule((402,), QuotaExceededError, "the account must be paid"),
    Rule((401,), CredentialsError, "the key is not accepted"),
    Rule(
        (403,),
        RouteRefusedError,
        "the sender is not verified",
        re.compile("sender identity|from address", re.IGNORECASE),
    ),
    Rule((403,), ProviderDownError, "blocked for a while", re.compile("too many bad requests|temporar", re.IGNORECASE)),
    Rule((403,), CredentialsError, "the key may not send"),
    Rule((429,), ThrottledError, "too many requests"),
    Rule((451,), RouteRefusedError, "the sender's data may not be held there"),
    *USUAL_RULES,
)
_WAITS: Final[tuple[Wait, ...]] = (retry_after_header, rate_limit_reset)


class SendGrid(HttpProvider):
    """A SendGrid account; *transport* and *wall_clock* are for tests."""

    def __init__(
        self,
        spec: ProviderSpec,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        account = check_account(spec, base_url=_BASE_URL, look_up_after=0.0)
        authorization = f"Bearer {account.api_key.get_secret_value()}"
        super().__init__(account, authorization=authorization, transport=transport, wall_clock=wall_clock)

    async def send(self, mail: Mail, *, timeout: float | None = None) -> Receipt:
        content = sendgrid_payload(mail, self.name, self._account.cluster)
        request = self._http.request("POST", _SEND, content=content, headers={"content-type": "application/json"})
        reply = await self._hand_over(request, mail, timeout)
        receipt = _receipt(reply, self.name)
        if receipt is None:
            now = self._wall_clock()
            raise judge(_RULES, reply, _message(reply), provider=self.name, waits=_WAITS, now=now, mail=mail)
        return replace(receipt, is_recorded=self._is_recorded(reply))

    async def look_up(self, mail: Mail) -> Receipt | None:
        if not self.look_up_after or not _can_be_quoted(mail.id):
            raise ProviderError("cannot be asked for this mail", provider=self.name)
        query = {"query": f"(unique_args['mail_id']=\"{mail.id}\")", "limit": "10"}
        request = self._http.request("GET", _ASK, params=query)
        document = await ask(self._http, request, provider=self.name, now=self._wall_clock())
        match document:
            case {"messages": []}:
                return None
            case {"messages": [{"msg_id": str(message_id), "from_email": str(sender)}, *_]}:
                return self._found(mail, message_id, sender)
            case _:
                raise ProviderError("answered a look-up in a form that is not its own", provider=self.name)

    def _found(self, mail: Mail, message_id: str, sender: str) -> Receipt:
        if sender.lower() != mail.from_.email.lower():
            raise ProviderError("found a mail of another sender under this id", provider=self.name)
        return Receipt(self.name, message_id.partition(".")[0][:MAX_MESSAGE_ID])


def open_provider(spec: ProviderSpec) -> Provider:
    """Open a SendGrid account; `ConfigError` names a wrong setting or an unknown option."""
    return SendGrid(spec)


def open_observed(spec: ProviderSpec) -> ObservedProvider:
    """Open a SendGrid account as the proxy sees it; `ConfigError` names a wrong setting."""
    takes = {("POST", _SEND): Traffic.SEND, ("GET", _ASK): Traffic.LOOK_UP}
    return HttpObserved(spec, Dialect(_BASE_URL, takes, _receipt, _acceptance))


def _receipt(reply: Reply, provider: str) -> Receipt | None:
    """Return the receipt, if SendGrid took the mail; a body without its id is of something that stands in front."""
    if reply.status != httpx.codes.ACCEPTED or ("x-message-id" not in reply.headers and reply.body.strip()):
        return None
    return Receipt(provider, reply.headers.get("x-message-id", "")[:MAX_MESSAGE_ID])


def _acceptance(receipt: Receipt) -> Answered:
    named = {"x-message-id": receipt.message_id} if receipt.message_id else {}
    return Answered(httpx.codes.ACCEPTED, httpx.Headers(named))


def _message(reply: Reply) -> str:
    match reply.document():
        case {"errors": [*errors]}:
            return "; ".join(filter(None, map(_one_message, errors)))
        case _:
            return "" if reply.is_html else reply.body[:2_000].decode("utf-8", "replace")


def _one_message(error: object) -> str:
    match error:
        case {"message": str(message), "field": str(field)} if field:
            return f"{message} ({field})"
        case {"message": str(message)}:
            return message
        case _:
            return ""


def _can_be_quoted(mail_id: str) -> bool:
    return not set(mail_id) & set('"\\')
