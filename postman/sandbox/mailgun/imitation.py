"""Mailgun as its users meet it, without the connection."""

import base64
import hmac
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime

from postman.sandbox.answers import Accepted, Answer, json_answer, text_answer
from postman.sandbox.faults import Fault, Traffic
from postman.sandbox.forms import FormError, read_form
from postman.sandbox.imitation import EventPost, Request
from postman.sandbox.mailgun.drafts import read_draft
from postman.sandbox.mailgun.events import EventLookup, event_posts
from postman.sandbox.mailgun.rules import Form, first_problem
from postman.sandbox.mails import SentMail
from postman.sandbox.settings import ProviderName
from postman.sandbox.store import MailStore

__all__ = ["Mailgun", "check_send"]

_ANY_DOMAIN = "*"
_THROTTLE_SECONDS = 60.0
_MESSAGES = {500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}


def check_send(content_type: str, body: bytes, *, domain: str, message_id: str) -> Accepted | Answer:
    """Decide about the form of ``POST /v3/{domain}/messages``. *message_id* is the id unless the form has its own."""
    try:
        form = Form(read_form(content_type, body))
    except FormError:
        return json_answer(400, {"message": "malformed multipart/form-data request"})
    problem = first_problem(form)
    if problem is not None:
        return json_answer(400, {"message": problem})
    draft = read_draft(form, domain=domain, message_id=message_id, size=len(body))
    return Accepted(json_answer(200, {"id": draft.message_id, "message": "Queued. Thank you."}), (draft,))


class Mailgun:
    """One account, whose only key is *key*, with its *domains*."""

    name = ProviderName.MAILGUN
    body_limit = int(52.4 * 1024 * 1024)

    def __init__(
        self,
        key: str,
        signing_key: str,
        domains: Sequence[str],
        store: MailStore,
        *,
        now: Callable[[], float],
        lookup_delay: Callable[[], float],
    ) -> None:
        self._authorizations = [b"Basic " + base64.b64encode(f"api:{each}".encode()) for each in key.split(",")]
        self._signing_key = signing_key
        self._domains = frozenset(domains)
        self._lookup = EventLookup(store)
        self._now = now
        self._lookup_delay = lookup_delay

    def traffic(self, request: Request) -> Traffic:
        """Whatever is not a send is a look-up."""
        return Traffic.SEND if request.path.endswith("/messages") else Traffic.LOOKUP

    def answer(self, request: Request) -> Accepted | Answer:
        """Answer as Mailgun does: a path it does not know is greeted with 200, whoever asks."""
        match request.method, request.path.strip("/").split("/"):
            case "POST", ["v3", domain, "messages"]:
                return self._refuse(request, domain) or self._send(request, domain)
            case "GET", ["v3", domain, "events", *rest] if len(rest) < 2:
                return self._refuse(request, domain) or self._events(request, domain, "".join(rest))
            case _, ["v3", _, "messages" | "events"]:
                return json_answer(405, {"message": "Method not allowed"})
            case _:
                return self.malformed()

    def _refuse(self, request: Request, domain: str) -> Answer | None:
        given = request.authorization.encode("utf-8", "surrogateescape")
        if not any(hmac.compare_digest(given, known) for known in self._authorizations):
            return self.failed(401)
        if domain not in self._domains and _ANY_DOMAIN not in self._domains:
            return json_answer(404, {"message": f"Domain not found: {domain}"})
        return None

    def _send(self, request: Request, domain: str) -> Accepted | Answer:
        message_id = f"<{self._now():.6f}.{secrets.token_hex(8)}@{domain}>"
        return check_send(request.content_type, request.body, domain=domain, message_id=message_id)

    def _events(self, request: Request, domain: str, token: str) -> Answer:
        return self._lookup.answer(request, domain, token, self._now() - self._lookup_delay())

    def failed(self, status: int) -> Answer:
        """Answer *status* with a message."""
        if status == 401:
            return text_answer(401, "Forbidden")
        return json_answer(status, {"message": _MESSAGES.get(status, "Request Failed")})

    def too_large(self) -> Answer:
        """Answer a request above 52.4 MiB."""
        return json_answer(413, {"message": "request size exceeds 52.4MiB limit"})

    def down(self) -> Answer:
        """Answer 503."""
        return self.failed(503)

    def throttled(self, fault: Fault) -> Answer:
        """Answer 429 with the seconds to wait, or 420 with the date to come back at: both are seen at Mailgun."""
        seconds = _THROTTLE_SECONDS if fault.seconds is None else fault.seconds
        status = fault.status or 429
        domain = min(self._domains)
        when, limit = f"{seconds:g} seconds", "account-requests-per-sec"
        if status == 420:
            limit = "recipient"
            moment = datetime.fromtimestamp(self._now() + seconds, UTC)
            when = format_datetime(moment).replace("+0000", "UTC")
        message = f"Domain {domain} is not allowed to send: {limit} limit exceeded, try again after {when}"
        return json_answer(status, {"message": message})

    def malformed(self) -> Answer:
        """Answer 200 with the greeting that a wrong path gets."""
        return text_answer(200, "Mailgun Magnificent API")

    def event_posts(self, mails: Sequence[SentMail]) -> list[EventPost]:
        """Return one post for each event of *mails*."""
        return event_posts(mails, signing_key=self._signing_key, now=self._now())
