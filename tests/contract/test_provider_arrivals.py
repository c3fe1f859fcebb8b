"""Mails that adapters get wrong, as their recipients see them: read from the request by the sandbox's own rules."""

from collections.abc import AsyncIterator, Iterable

import pytest
from pydantic import SecretStr

from postman.adapters import mailgun, sendgrid
from postman.core.mail import Address, Attachment, Mail
from postman.errors import InvalidMailError, RouteRefusedError
from postman.ports.opening import ProviderSpec
from postman.ports.provider import Provider
from postman.sandbox.mails import Mailbox, SentMail
from postman.sandbox.server import Sandbox
from postman.testing.hard_mails import HARD_MAILS


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(params=["sendgrid", "mailgun"])
async def provider(request: pytest.FixtureRequest, sandbox: Sandbox) -> AsyncIterator[Provider]:
    if request.param == "sendgrid":
        spec = ProviderSpec("sendgrid", "sendgrid", SecretStr("SG.sandbox"), sandbox.sendgrid_url)
        provider = sendgrid.open_provider(spec)
    else:
        options = {"domain": "mg.example.org"}
        spec = ProviderSpec("mailgun", "mailgun", SecretStr("key-sandbox"), sandbox.mailgun_url, options=options)
        provider = mailgun.open_provider(spec)
    yield provider
    await provider.aclose()


def _people(addresses: Iterable[Address | Mailbox]) -> list[tuple[str, str]]:
    return [(each.email, each.name or "") for each in addresses]


def _seen(arrived: SentMail) -> dict[str, object]:
    draft = arrived.draft
    return {
        "from": _people([draft.from_]),
        "to": _people(draft.to),
        "cc": _people(draft.cc),
        "bcc": _people(draft.bcc),
        "reply_to": {email for email, _ in _people(draft.reply_to)},
        "subject": draft.subject,
        "text": draft.body.text.strip(),
        "html": draft.body.html,
        "tags": set(draft.tags),
        "metadata": draft.metadata,
        "message_id": draft.message_id_header,
    }


def _meant(mail: Mail) -> dict[str, object]:
    return {
        "from": _people([mail.from_]),
        "to": _people(mail.to),
        "cc": _people(mail.cc),
        "bcc": _people(mail.bcc),
        "reply_to": {email for email, _ in _people(mail.reply_to)},
        "subject": mail.subject,
        "text": mail.text,
        "html": mail.html,
        "tags": set(mail.tags),
        "metadata": {"mail_id": mail.id, **mail.metadata},
        "message_id": mail.message_id,
    }


@pytest.mark.parametrize("name", HARD_MAILS)
async def test_mail_arrives_as_it_was_meant(provider: Provider, sandbox: Sandbox, name: str) -> None:
    """Whatever the adapter's form, the recipient sees what the sender wrote."""
    mail = HARD_MAILS[name]
    try:
        receipt = await provider.send(mail)
    except RouteRefusedError:
        assert len(sandbox.store) == 0
        return

    [arrived] = sandbox.store.newest_first()
    assert _seen(arrived) == _meant(mail)
    assert receipt.message_id == arrived.draft.message_id
    _compare_files(mail.attachments, arrived)


def _compare_files(meant: tuple[Attachment, ...], arrived: SentMail) -> None:
    seen = arrived.draft.body.attachments
    assert [each.content for each in seen] == [each.content for each in meant]
    assert [each.content_id or None for each in seen] == [each.content_id for each in meant]
    assert [each.filename for each in seen] in (
        [each.filename for each in meant],
        [each.content_id or each.filename for each in meant],
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"to": [{"email": "zoë@example.org"}]},
        {"to": [{"email": "ann@[127.0.0.1]"}]},
        {"to": [{"email": "ann @example.org"}]},
        {"to": [{"email": "ann@example.org\r\nBcc: eve@example.org"}]},
        {"to": [{"email": "ann@example.org", "name": "Ann\nBcc: eve@example.org"}]},
        {"subject": "Hello\r\nBcc: eve@example.org"},
        {"headers": {"X-A": "a\r\nBcc: eve@example.org"}},
        {"headers": {"reply-to": "bob@example.org"}},
        {"cc": [{"email": "ANN@example.org"}]},
        {"attachments": [{"filename": "", "content_type": "text/plain", "content": "YQ=="}]},
        {"metadata": {"order": 1042}},
    ],
    ids=lambda fields: f"{next(iter(fields))}: {next(iter(fields.values()))!r}"[:60],
)
def test_what_no_provider_may_be_handed_is_no_mail(fields: dict[str, object]) -> None:
    """An adapter need not look for what cannot get to it."""
    plain = {"from": {"email": "shop@mg.example.org"}, "to": [{"email": "ann@example.org"}], "text": "Hi"}
    assert Mail.model_validate(plain).subject == ""

    with pytest.raises(InvalidMailError):
        Mail.model_validate({**plain, **fields})
