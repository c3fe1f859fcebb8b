"""A mail as SendGrid's v3 API takes it."""

from base64 import b64encode
from collections.abc import Iterable

import orjson

from postman.core.mail import Address, Attachment, Mail
from postman.errors import RouteRefusedError

__all__ = ["sendgrid_payload"]

_NO_BODY = " "


def sendgrid_payload(mail: Mail, provider: str, cluster: str = "") -> bytes:
    """Return the body of a request that sends *mail* once to everybody, all in one personalization.

    Raises `RouteRefusedError` for what SendGrid takes in no form: a mail without *to* or without a subject, an
    attachment without content.
    """
    _check(mail, provider)
    document: dict[str, object] = {
        "personalizations": [_personalization(mail, cluster)],
        "from": _address(mail.from_),
        **_reply_to(mail),
        "subject": mail.subject,
        "content": _content(mail),
        "headers": _headers(mail),
    }
    if mail.attachments:
        document["attachments"] = [_attachment(each) for each in mail.attachments]
    if mail.tags:
        document["categories"] = list(mail.tags)
    return orjson.dumps(document)


def _check(mail: Mail, provider: str) -> None:
    if not mail.to:
        raise RouteRefusedError("takes no mail that has only cc and bcc", provider=provider)
    if not mail.subject:
        raise RouteRefusedError("takes no mail without a subject", provider=provider)
    if not all(each.content for each in mail.attachments):
        raise RouteRefusedError("takes no empty attachment", provider=provider)


def _personalization(mail: Mail, cluster: str) -> dict[str, object]:
    lists = {"to": mail.to, "cc": mail.cc, "bcc": mail.bcc}
    recipients = {name: [_address(each) for each in addresses] for name, addresses in lists.items() if addresses}
    own = {"mail_id": mail.id, **({"postman_cluster": cluster} if cluster else {})}
    return {**recipients, "custom_args": {**own, **mail.metadata}}


def _address(address: Address) -> dict[str, str]:
    return {"email": address.email, "name": address.name} if address.name else {"email": address.email}


def _reply_to(mail: Mail) -> dict[str, object]:
    addresses = [_address(each) for each in _distinct(mail.reply_to)]
    match addresses:
        case []:
            return {}
        case [only]:
            return {"reply_to": only}
        case _:
            return {"reply_to_list": addresses}


def _distinct(addresses: Iterable[Address]) -> Iterable[Address]:
    return {each.email.lower(): each for each in addresses}.values()


def _content(mail: Mail) -> list[dict[str, str]]:
    parts = [("text/plain", mail.text), ("text/html", mail.html)]
    content = [{"type": kind, "value": value} for kind, value in parts if value]
    return content or [{"type": "text/plain", "value": _NO_BODY}]


def _headers(mail: Mail) -> dict[str, str]:
    own = {name: value for name, value in mail.headers.items() if name.lower() != "message-id"}
    return {**own, "Message-ID": mail.message_id}


def _attachment(attachment: Attachment) -> dict[str, str]:
    kind, _, _ = attachment.content_type.partition(";")  # SendGrid refuses a charset here; a file's bytes stay
    document = {
        "content": b64encode(attachment.content).decode("ascii"),
        "type": kind,
        "filename": attachment.filename,
        "disposition": "attachment",
    }
    if attachment.content_id is not None:
        document |= {"disposition": "inline", "content_id": attachment.content_id}
    return document
