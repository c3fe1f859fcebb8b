"""A mail as Mailgun's messages API takes it: fields of a multipart form."""

from collections.abc import Iterable, Iterator
from typing import Final

from postman.adapters._http import Form
from postman.core.mail import Address, Attachment, Mail
from postman.errors import RouteRefusedError

__all__ = ["MAX_OPTION_BYTES", "MAX_TAGS", "mailbox", "mailgun_form"]

MAX_TAGS: Final = 3
MAX_OPTION_BYTES: Final = 16_000
"""Of all ``o:``, ``h:`` and ``v:`` fields, names and values; Mailgun says "16 kB" and not which kind."""

_NO_BODY: Final = " "
_Field = tuple[str, str]


def mailgun_form(mail: Mail, provider: str, cluster: str = "") -> Form:
    """Return the fields that send *mail* once to everybody.

    Raises `RouteRefusedError` for what Mailgun takes in no form: a mail without *to*, more than three tags, headers,
    tags and metadata of more than 16 kB, an inline image whose id has a slash.
    """
    options = list(_options(mail, cluster))
    _check(mail, options, provider)
    files = [_file(each) for each in mail.attachments]
    return [*(_plain(name, value) for name, value in (*_fields(mail), *options)), *files]


def mailbox(address: Address) -> str:
    """Return *address* as one RFC 5322 mailbox: its name is quoted, so that nothing in it is read as an address."""
    if not address.name:
        return address.email
    quoted = address.name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}" <{address.email}>'


def _check(mail: Mail, options: Iterable[_Field], provider: str) -> None:
    if not mail.to:
        raise RouteRefusedError("takes no mail that has only cc and bcc", provider=provider)
    if len(mail.tags) > MAX_TAGS:
        raise RouteRefusedError(f"takes no more than {MAX_TAGS} tags", provider=provider)
    if sum(len(name.encode()) + len(value.encode()) for name, value in options) > MAX_OPTION_BYTES:
        raise RouteRefusedError("takes no more than 16 kB of headers, tags and metadata", provider=provider)
    if any("/" in (each.content_id or "") for each in mail.attachments):
        raise RouteRefusedError("takes no inline image whose id has a slash", provider=provider)


def _fields(mail: Mail) -> Iterator[_Field]:
    yield "from", mailbox(mail.from_)
    for name, addresses in (("to", mail.to), ("cc", mail.cc), ("bcc", mail.bcc)):
        yield from ((name, mailbox(each)) for each in addresses)
    yield "subject", mail.subject
    if mail.text or not mail.html:
        yield "text", mail.text or _NO_BODY
    if mail.html:
        yield "html", mail.html


def _options(mail: Mail, cluster: str) -> Iterator[_Field]:
    """The id comes first: of long variables Mailgun cuts the end in its events. Recipients are not shown them."""
    yield "v:mail_id", mail.id
    if cluster:
        yield "v:postman_cluster", cluster
    yield from ((f"v:{name}", value) for name, value in mail.metadata.items())
    yield "o:suppress-headers", "X-Mailgun-Variables"
    yield "h:Message-Id", mail.message_id
    if mail.reply_to:
        yield "h:Reply-To", ", ".join(map(mailbox, mail.reply_to))
    for name, value in mail.headers.items():
        if name.lower() != "message-id":
            yield f"h:{name}", value
    yield from (("o:tag", tag) for tag in mail.tags)


def _plain(name: str, value: str) -> tuple[str, tuple[None, bytes, None]]:
    return name, (None, value.encode(), None)


def _file(attachment: Attachment) -> tuple[str, tuple[str, bytes, str]]:
    """Return a file; the filename of an inline one is the id by which the HTML shows it."""
    if attachment.content_id is not None:
        return "inline", (attachment.content_id, attachment.content, attachment.content_type)
    return "attachment", (attachment.filename, attachment.content, attachment.content_type)
