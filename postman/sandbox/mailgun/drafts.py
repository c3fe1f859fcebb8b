"""Turns a valid form of ``POST /v3/{domain}/messages`` into a mail."""

from collections.abc import Iterator
from email.utils import parsedate_to_datetime

from postman.sandbox.forms import Field
from postman.sandbox.mailgun.rules import Form
from postman.sandbox.mails import Attachment, Body, Draft, Mailbox

__all__ = ["read_draft"]

_ID_VARIABLE = "mail_id"
_YES = ("yes", "true", "True")


def read_draft(form: Form, *, domain: str, message_id: str, size: int) -> Draft:
    """Return the mail of *form*, which must be valid. *message_id* is used unless the form brings its own."""
    headers, metadata = form.prefixed("h:"), form.prefixed("v:")
    given = _header(headers, "message-id")
    message_id = f"<{given.strip().removeprefix('<').removesuffix('>')}>" if given.strip() else message_id
    to, cc, bcc = _without_repetition(form)
    return Draft(
        mail_id=metadata.get(_ID_VARIABLE, ""),
        message_id=message_id,
        message_id_header=message_id,
        from_=(form.mailboxes("from") or (Mailbox(f"template@{domain}"),))[0],
        to=to,
        cc=cc,
        bcc=bcc,
        reply_to=_reply_to(_header(headers, "reply-to")),
        subject=form.one("subject"),
        tags=tuple(form.all("o:tag")),
        metadata=metadata,
        size=size,
        body=Body(form.one("text"), form.one("html"), headers, tuple(_attachments(form.files))),
        domain=domain,
        send_at=_time(form.one("o:deliverytime")),
        test_mode=form.one("o:testmode") in _YES,
    )


def _header(headers: dict[str, str], wanted: str) -> str:
    return next((value for name, value in headers.items() if name.lower() == wanted), "")


def _reply_to(text: str) -> tuple[Mailbox, ...]:
    return Form([Field("reply-to", text.encode())]).mailboxes("reply-to") if text else ()


def _without_repetition(form: Form) -> tuple[tuple[Mailbox, ...], ...]:
    """Mailgun ignores an address that it has already; the case of its letters does not matter."""
    seen: set[str] = set()
    return tuple(tuple(_new(form.mailboxes(name), seen)) for name in ("to", "cc", "bcc"))


def _new(mailboxes: tuple[Mailbox, ...], seen: set[str]) -> Iterator[Mailbox]:
    for mailbox in mailboxes:
        if mailbox.email.lower() not in seen:
            seen.add(mailbox.email.lower())
            yield mailbox


def _attachments(files: list[Field]) -> Iterator[Attachment]:
    """Mailgun drops a file without a name, and says nothing of it."""
    for file in files:
        if file.filename:
            inline = file.name == "inline"
            kind = file.content_type or "application/octet-stream"
            yield Attachment(file.filename, kind, file.content, file.filename if inline else "", inline)


def _time(text: str) -> float | None:
    return parsedate_to_datetime(text).timestamp() if text else None
