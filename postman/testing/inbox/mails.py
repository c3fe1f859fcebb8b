"""What a test sees of a mail."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from postman.sandbox.mails import Attachment, Mailbox
from postman.sandbox.mails import SentMail as Accepted

__all__ = ["Refused", "SentMail", "sent_mail"]

_OURS = frozenset({"mail_id", "postman_cluster", "postman_provider"})


@dataclass(frozen=True, slots=True)
class SentMail:
    """A mail as its provider took it, and as its recipients would see it."""

    id: str
    provider: str
    """`sendgrid` or `mailgun`."""
    from_: Mailbox
    to: tuple[Mailbox, ...]
    cc: tuple[Mailbox, ...]
    bcc: tuple[Mailbox, ...]
    reply_to: tuple[Mailbox, ...]
    subject: str
    text: str
    html: str
    headers: Mapping[str, str]
    attachments: tuple[Attachment, ...]
    """With `filename`, `content_type` and the decoded `content`."""
    tags: tuple[str, ...]
    metadata: Mapping[str, str]

    @property
    def recipients(self) -> tuple[str, ...]:
        """The addresses of everybody who gets it, in lower case."""
        return tuple(each.email.lower() for each in (*self.to, *self.cc, *self.bcc))

    def __str__(self) -> str:
        return f"{self.id}: {self.subject!r} to {', '.join(self.recipients)} by {self.provider}"


@dataclass(frozen=True, slots=True)
class Refused:
    """A mail that was given up, and lies among the dead letters."""

    id: str
    """Empty where the message had none."""
    reason: str
    """As `postman.core.verdict.DeadReason` has it, like `refused` or `expired`."""
    detail: str = field(default="")

    def __str__(self) -> str:
        return f"{self.id or 'a mail without an id'}: {self.reason}: {self.detail}"


def sent_mail(accepted: Accepted) -> SentMail:
    """Return what the sandbox accepted."""
    draft = accepted.draft
    return SentMail(
        id=draft.mail_id,
        provider=str(accepted.provider),
        from_=draft.from_,
        to=draft.to,
        cc=draft.cc,
        bcc=draft.bcc,
        reply_to=draft.reply_to,
        subject=draft.subject,
        text=draft.body.text,
        html=draft.body.html,
        headers=draft.body.headers,
        attachments=draft.body.attachments,
        tags=draft.tags,
        metadata={name: value for name, value in draft.metadata.items() if name not in _OURS},
    )
