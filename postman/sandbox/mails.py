"""A mail as its recipients would see it, whichever provider took it."""

from dataclasses import dataclass, field

from postman.sandbox.settings import ProviderName

__all__ = ["Attachment", "Body", "Draft", "Mailbox", "SentMail"]


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address with the name shown beside it."""

    email: str = field(repr=False)
    name: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.name} <{self.email}>" if self.name else self.email


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that came with a mail."""

    filename: str
    content_type: str
    content: bytes = field(repr=False)
    content_id: str = ""
    inline: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """The heavy part of a mail, dropped from old ones."""

    text: str
    html: str
    headers: dict[str, str]
    attachments: tuple[Attachment, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """A valid mail taken from a request, before the store gives it a number and a time."""

    mail_id: str
    """Our own id of it; empty where the sender gave none."""
    message_id: str
    """The provider's id, as its answer shows it."""
    message_id_header: str
    from_: Mailbox = field(repr=False)
    to: tuple[Mailbox, ...] = field(repr=False)
    cc: tuple[Mailbox, ...] = field(repr=False)
    bcc: tuple[Mailbox, ...] = field(repr=False)
    reply_to: tuple[Mailbox, ...] = field(repr=False)
    subject: str = field(repr=False)
    tags: tuple[str, ...]
    metadata: dict[str, str] = field(repr=False)
    size: int
    """Bytes of the request that brought it."""
    body: Body = field(repr=False)
    domain: str = ""
    """The sending domain that was asked for; Mailgun only."""
    send_at: float | None = None
    """Unix time it is to be delivered at, where the sender asked for one."""
    test_mode: bool = False
    """Whether it was accepted for the sake of its events only."""


@dataclass(frozen=True, slots=True)
class SentMail:
    """A mail that was accepted."""

    number: int
    """Its place in the order of acceptance, from 1."""
    provider: ProviderName
    accepted_at: float
    """Unix time."""
    part: int
    """Its place among the mails of one request, from 0."""
    draft: Draft

    @property
    def recipients(self) -> tuple[Mailbox, ...]:
        """Everybody who gets it: to, cc and bcc."""
        return self.draft.to + self.draft.cc + self.draft.bcc
