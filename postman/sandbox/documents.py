"""Mails as JSON, in short and whole."""

import base64
from collections import Counter
from collections.abc import Sequence

from postman.sandbox.mails import Attachment, Mailbox, SentMail
from postman.sandbox.settings import ProviderName
from postman.sandbox.store import DROPPED

__all__ = ["census", "summary", "whole"]


def summary(mail: SentMail) -> dict[str, object]:
    """Return what a list shows."""
    draft = mail.draft
    return {
        "number": mail.number,
        "mail_id": draft.mail_id,
        "provider": mail.provider,
        "message_id": draft.message_id,
        "message_id_header": draft.message_id_header,
        "accepted_at": mail.accepted_at,
        "from": _mailbox(draft.from_),
        "to": [_mailbox(each) for each in draft.to],
        "cc": [_mailbox(each) for each in draft.cc],
        "bcc": [_mailbox(each) for each in draft.bcc],
        "subject": draft.subject,
        "size": draft.size,
        "attachments": len(draft.body.attachments),
        "tags": list(draft.tags),
        "metadata": draft.metadata,
        "send_at": draft.send_at,
        "test_mode": draft.test_mode,
    }


def whole(mail: SentMail, copies: int) -> dict[str, object]:
    """Return everything. *copies* says how many mails have the same provider's id."""
    draft = mail.draft
    return {
        **summary(mail),
        "reply_to": [_mailbox(each) for each in draft.reply_to],
        "headers": draft.body.headers,
        "text": draft.body.text,
        "html": draft.body.html,
        "attachments": [_attachment(each) for each in draft.body.attachments],
        "domain": draft.domain,
        "complete": draft.body is not DROPPED,
        "copies": copies,
    }


def census(mails: Sequence[SentMail]) -> dict[str, object]:
    """Count *mails*; one without our id counts as different from all others."""
    ids = Counter(mail.draft.mail_id for mail in mails if mail.draft.mail_id)
    providers = Counter(mail.provider for mail in mails)
    return {
        "total": len(mails),
        "distinct": len(ids) + len(mails) - ids.total(),
        "duplicates": [mail_id for mail_id, count in ids.items() if count > 1],
        "by_provider": {provider.value: providers[provider] for provider in ProviderName},
    }


def _mailbox(each: Mailbox) -> dict[str, str]:
    return {"email": each.email, "name": each.name}


def _attachment(each: Attachment) -> dict[str, object]:
    return {
        "filename": each.filename,
        "content_type": each.content_type,
        "content": base64.b64encode(each.content).decode(),
        "size": len(each.content),
        "content_id": each.content_id,
        "inline": each.inline,
    }
