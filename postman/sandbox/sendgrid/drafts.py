"""Turns a valid body of ``POST /v3/mail/send`` into mails: one for each personalization."""

import base64
from typing import Any

from postman.sandbox.mails import Attachment, Body, Draft, Mailbox

__all__ = ["read_drafts"]

_ID_ARGUMENT = "mail_id"


def read_drafts(document: dict[str, Any], message_id: str, size: int) -> tuple[Draft, ...]:
    """Return the mails of *document*, which must be valid. All of one request have the same *message_id*."""
    attachments = tuple(_attachment(each) for each in document.get("attachments") or ())
    return tuple(_draft(document, each, attachments, message_id, size) for each in document["personalizations"])


def _draft(
    document: dict[str, Any], own: dict[str, Any], attachments: tuple[Attachment, ...], message_id: str, size: int
) -> Draft:
    metadata = {**(document.get("custom_args") or {}), **(own.get("custom_args") or {})}
    headers = {**(document.get("headers") or {}), **(own.get("headers") or {})}
    contents = {each["type"]: each["value"] for each in document.get("content") or ()}
    reply_to = document.get("reply_to_list") or ([document["reply_to"]] if document.get("reply_to") else [])
    return Draft(
        mail_id=metadata.get(_ID_ARGUMENT, ""),
        message_id=message_id,
        message_id_header=_message_id_header(headers, message_id),
        from_=_mailbox(own.get("from") or document["from"]),
        to=_mailboxes(own["to"]),
        cc=_mailboxes(own.get("cc")),
        bcc=_mailboxes(own.get("bcc")),
        reply_to=_mailboxes(reply_to),
        subject=own.get("subject") or document.get("subject") or "",
        tags=tuple(document.get("categories") or ()),
        metadata=metadata,
        size=size,
        body=Body(contents.get("text/plain", ""), contents.get("text/html", ""), headers, attachments),
        send_at=own.get("send_at") or document.get("send_at"),
    )


def _message_id_header(headers: dict[str, str], message_id: str) -> str:
    given = [value for name, value in headers.items() if name.lower() == "message-id"]
    return given[0] if given else f"<{message_id}@geopod-ismtpd-sandbox>"


def _mailboxes(listed: list[dict[str, str]] | None) -> tuple[Mailbox, ...]:
    return tuple(_mailbox(each) for each in listed or ())


def _mailbox(each: dict[str, str]) -> Mailbox:
    return Mailbox(each["email"], each.get("name", ""))


def _attachment(each: dict[str, str]) -> Attachment:
    return Attachment(
        filename=each["filename"],
        content_type=each.get("type") or "application/octet-stream",
        content=base64.b64decode(each["content"]),
        content_id=each.get("content_id", ""),
        inline=each.get("disposition") == "inline",
    )
