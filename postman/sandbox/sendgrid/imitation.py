"""SendGrid as its users meet it, without the connection."""

import hmac
import math
import secrets
from collections.abc import Callable, Sequence

import orjson

from postman.sandbox.answers import JSON, Accepted, Answer, json_answer, text_answer
from postman.sandbox.faults import Fault, Traffic
from postman.sandbox.imitation import EventPost, Request
from postman.sandbox.mails import SentMail
from postman.sandbox.sendgrid.drafts import read_drafts
from postman.sandbox.sendgrid.events import Signer
from postman.sandbox.sendgrid.lookups import Lookups, errors_answer
from postman.sandbox.sendgrid.rules import problems
from postman.sandbox.settings import ProviderName
from postman.sandbox.store import MailStore

__all__ = ["SendGrid", "check_send"]

_HELP = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html"
_SEND = "/v3/mail/send"
_THROTTLE_SECONDS = 60.0
_THROTTLE_LIMIT = 600
_MESSAGES = {
    401: "The provided authorization grant is invalid, expired, or revoked",
    403: "access forbidden",
    404: "not found",
    405: "method not allowed",
    413: "content too large",
    415: "Content-Type should be application/json.",
    429: "too many requests",
    500: "internal server error",
    503: "service not available",
}


def check_send(body: bytes, *, now: float, message_id: str) -> Accepted | Answer:
    """Decide about the body of ``POST /v3/mail/send``. *message_id* is the id to give if it is accepted."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return errors_answer(400, ("Bad Request", None))
    found = list(problems(document, now))
    if found:
        errors = [{"message": each.message, "field": each.field, "help": _help(each.field)} for each in found]
        return json_answer(400, {"errors": errors})
    if _is_trial(document):
        return Answer(200)
    answer = Answer(202, headers={"X-Message-Id": message_id})
    return Accepted(answer, read_drafts(document, message_id, len(body)))


def _help(field: str | None) -> str | None:
    if field is None:
        return None
    path = ".".join(part for part in field.split(".") if not part.isdecimal())
    return f"{_HELP}#message.{path}"


def _is_trial(document: dict[str, object]) -> bool:
    settings = document.get("mail_settings")
    mode = settings.get("sandbox_mode") if isinstance(settings, dict) else None
    return isinstance(mode, dict) and mode.get("enable") is True


class SendGrid:
    """One account, whose only key is *key*; while one is rotated there are several, with commas between."""

    name = ProviderName.SENDGRID
    body_limit = 30 * 1024 * 1024

    def __init__(
        self, key: str, store: MailStore, *, now: Callable[[], float], lookup_delay: Callable[[], float]
    ) -> None:
        self._authorizations = [f"Bearer {each}".encode() for each in key.split(",")]
        self._lookups = Lookups(store)
        self._now = now
        self._lookup_delay = lookup_delay
        self._signer: Signer | None = None

    def traffic(self, request: Request) -> Traffic:
        """Whatever is not a send is a look-up."""
        return Traffic.SEND if request.path == _SEND else Traffic.LOOKUP

    def answer(self, request: Request) -> Accepted | Answer:
        """Answer as SendGrid does: the key is checked first, then the path, then the body."""
        given = request.authorization.encode("utf-8", "surrogateescape")
        if not any(hmac.compare_digest(given, known) for known in self._authorizations):
            return self.failed(401)
        if request.path == _SEND:
            return self._send(request)
        return self._look_up(request)

    def _send(self, request: Request) -> Accepted | Answer:
        if request.method != "POST":
            return self.failed(405)
        if request.content_type.partition(";")[0].strip().lower() != JSON:
            return self.failed(415)
        return check_send(request.body, now=self._now(), message_id=secrets.token_urlsafe(16))

    def _look_up(self, request: Request) -> Answer:
        accepted_before = self._now() - self._lookup_delay()
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["v3", "messages"]:
                return self._lookups.activity(request, accepted_before)
            case "GET", ["v3", "messages", message_id]:
                return self._lookups.activity_detail(message_id, accepted_before)
            case "POST", ["v3", "logs"]:
                return self._lookups.logs(request, accepted_before)
            case "GET", ["v3", "logs", message_id]:
                return self._lookups.log(message_id, accepted_before)
            case _, ["v3", "messages" | "logs", *_]:
                return self.failed(405)
            case _:
                return self.failed(404)

    def failed(self, status: int) -> Answer:
        """Answer *status* with one error."""
        return errors_answer(status, (_MESSAGES.get(status, "error"), None))

    def too_large(self) -> Answer:
        """Answer a request above 30 MB."""
        return self.failed(413)

    def down(self) -> Answer:
        """Answer 503."""
        return self.failed(503)

    def throttled(self, fault: Fault) -> Answer:
        """Answer 429, or what *fault* asks for; the reset is a Unix time in whole seconds."""
        seconds = _THROTTLE_SECONDS if fault.seconds is None else fault.seconds
        headers = {
            "X-RateLimit-Limit": str(_THROTTLE_LIMIT),
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": str(math.ceil(self._now() + seconds)),
        }
        document = {"errors": [{"field": None, "message": _MESSAGES[429]}]}
        return json_answer(fault.status or 429, document, headers)

    def malformed(self) -> Answer:
        """Answer 200 with a page, and no message id."""
        return text_answer(200, "<html><body>It works!</body></html>", "text/html")

    @property
    def public_key(self) -> str:
        """The key that its events are verified with."""
        return self._ready_signer().public_key

    def event_posts(self, mails: Sequence[SentMail]) -> list[EventPost]:
        """Return all events of *mails* as one array."""
        return [self._ready_signer().post(mails, self._now())] if mails else []

    def _ready_signer(self) -> Signer:
        if self._signer is None:
            self._signer = Signer()
        return self._signer
