"""The documented rules for the form of Mailgun's ``POST /v3/{domain}/messages``.

Mailgun stops at the first mistake and says it in prose, without a code; the wording is kept where it is documented.
"""

import re
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from itertools import chain

import orjson

from postman.sandbox.addresses import read_list
from postman.sandbox.forms import Field
from postman.sandbox.mails import Mailbox

__all__ = ["Form", "first_problem"]

_OPTION_BYTES = 16 * 1024
_MESSAGE_BYTES = 25 * 1024 * 1024
_MOST_RECIPIENTS = 1000
_MOST_TAGS = 3
_OPTIONS = ("o:", "h:", "v:", "t:")
_LISTS = ("to", "cc", "bcc")
_BODIES = ("text", "html", "amp-html", "template")
_HEADER_NAME = re.compile(r"[!-9;-~]+")


class Form:
    """The fields of one request, by name."""

    def __init__(self, fields: list[Field]) -> None:
        self._texts: dict[str, list[str]] = {}
        self.files = [field for field in fields if field.name in ("attachment", "inline")]
        self.option_bytes = sum(len(field.name) + len(field.content) for field in fields if _is_option(field.name))
        for field in fields:
            if field.filename is None and field.name not in ("attachment", "inline"):
                self._texts.setdefault(field.name, []).append(field.text)

    def all(self, name: str) -> list[str]:
        """Return all values of *name*."""
        return self._texts.get(name, [])

    def one(self, name: str) -> str:
        """Return the last value of *name*, or nothing."""
        return self.all(name)[-1] if self.all(name) else ""

    def has(self, name: str) -> bool:
        """Whether *name* was sent, be it empty."""
        return name in self._texts

    def prefixed(self, prefix: str) -> dict[str, str]:
        """Return the values of the fields whose names begin with *prefix*, by the rest of their names."""
        return {name[len(prefix) :]: values[-1] for name, values in self._texts.items() if name.startswith(prefix)}

    def mailboxes(self, name: str) -> tuple[Mailbox, ...]:
        """Return the addresses under *name*, without those that cannot be read."""
        lists = (read_list(text) or () for text in self.all(name))
        return tuple(chain.from_iterable(lists))


def _is_option(name: str) -> bool:
    return name.startswith(_OPTIONS)


def first_problem(form: Form) -> str | None:
    """Return Mailgun's words about the first mistake in *form*; None for a good one."""
    return next(chain.from_iterable(rule(form) for rule in _RULES), None)


def _missing(form: Form) -> Iterator[str]:
    for name in ("from", "to", "subject"):
        if not form.has(name) and not (form.has("template") and name != "to"):
            yield f"{name} parameter is missing"


def _addresses(form: Form) -> Iterator[str]:
    for name in ("from", *_LISTS):
        if any(read_list(text) is None for text in form.all(name)):
            yield f"'{name}' parameter is not a valid address. please check documentation"
    if form.has("from") and len(form.mailboxes("from")) != 1:
        yield "'from' parameter is not a valid address. please check documentation"


def _bodies(form: Form) -> Iterator[str]:
    if form.one("html") and form.one("template"):
        yield "Only one parameters 'html' or 'template' is allowed."
    if not any(form.one(name) for name in _BODIES):
        yield "Need at least one of 'text', 'html', 'amp-html' or 'template' parameters specified"


def _sizes(form: Form) -> Iterator[str]:
    if form.option_bytes > _OPTION_BYTES:
        yield "Send options (parameters starting with o:, h:, v:, or t:) are limited to 16 kB total"
    if sum(len(form.mailboxes(name)) for name in _LISTS) > _MOST_RECIPIENTS:
        yield f"Too many recipients, max is {_MOST_RECIPIENTS}"
    bodies = sum(len(form.one(name).encode()) for name in _BODIES)
    if bodies + sum(len(file.content) for file in form.files) > _MESSAGE_BYTES:
        yield "Message size exceeds the limit of 25 MB"


def _headers(form: Form) -> Iterator[str]:
    for name, value in form.prefixed("h:").items():
        if not name.isascii() or not _HEADER_NAME.fullmatch(name):
            yield "Header name must be pure ASCII"
        if any(letter in value for letter in "\r\n\0"):
            yield "Header value must not contain line ends"
    if any(letter in form.one("subject") for letter in "\r\n\0"):
        yield "'subject' parameter must not contain line ends"


def _options(form: Form) -> Iterator[str]:
    if len(form.all("o:tag")) > _MOST_TAGS:
        yield f"Too many tags, max is {_MOST_TAGS}"
    if form.has("o:deliverytime") and not _is_date(form.one("o:deliverytime")):
        yield "'o:deliverytime' parameter is not a valid date. please check documentation"
    if form.has("recipient-variables") and not _is_object(form.one("recipient-variables")):
        yield "'recipient-variables' parameter is not a valid JSON"


def _is_date(text: str) -> bool:
    try:
        parsedate_to_datetime(text)
    except ValueError:
        return False
    return True


def _is_object(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


_RULES: tuple[Callable[[Form], Iterator[str]], ...] = (_missing, _addresses, _bodies, _sizes, _headers, _options)
