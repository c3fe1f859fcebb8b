from dataclasses import replace

import pytest

from postman.sandbox.mails import Attachment, Body, Draft, Mailbox
from postman.sandbox.settings import ProviderName
from postman.sandbox.store import DROPPED, MailStore

SENDGRID, MAILGUN = ProviderName.SENDGRID, ProviderName.MAILGUN
DRAFT = Draft(
    mail_id="m-1",
    message_id="<p-1>",
    message_id_header="<p-1>",
    from_=Mailbox("shop@example.org"),
    to=(Mailbox("ann@example.com"),),
    cc=(),
    bcc=(),
    reply_to=(),
    subject="Receipt",
    tags=(),
    metadata={"mail_id": "m-1"},
    size=10,
    body=Body("text", "", {}, (Attachment("a", "a/b", b"x"),)),
)


@pytest.fixture
def store() -> MailStore:
    return MailStore(keep=2, now=lambda: 5.0)


def draft(mail_id: str, message_id: str = "p") -> Draft:
    return replace(DRAFT, mail_id=mail_id, message_id=message_id, metadata={"mail_id": mail_id} if mail_id else {})


def test_a_mail_accepted_twice_is_counted_by_both_providers(store: MailStore) -> None:
    for provider, mail_id in ((SENDGRID, "m-1"), (MAILGUN, "m-1"), (SENDGRID, "m-2"), (SENDGRID, ""), (SENDGRID, "")):
        store.accept(provider, [draft(mail_id)])

    assert (len(store), store.distinct, store.duplicates) == (5, 4, ["m-1"])
    assert store.by_provider == {SENDGRID: 4, MAILGUN: 1}


def test_old_mails_lose_their_bodies_but_are_still_counted_and_found(store: MailStore) -> None:
    for number in range(1, 5):
        store.accept(SENDGRID, [draft(f"m-{number}")])

    bodies = [mail.draft.body is DROPPED for mail in store.newest_first()]

    assert bodies == [False, False, True, True]
    assert (len(store), store.distinct) == (4, 4)
    [oldest] = store.newest_first(mail_id="m-1")
    assert oldest.draft.subject == "Receipt"


def test_a_mail_is_found_by_provider_id_recipient_and_metadata(store: MailStore) -> None:
    store.accept(SENDGRID, [draft("m-1", "<a>")])
    store.accept(MAILGUN, [draft("m-2", "<a>")])

    assert [mail.draft.mail_id for mail in store.with_message_id(SENDGRID, "a")] == ["m-1"]
    assert [mail.draft.mail_id for mail in store.with_message_id(MAILGUN, "<a>")] == ["m-2"]
    assert [mail.draft.mail_id for mail in store.to_recipient(MAILGUN, "ANN@example.com")] == ["m-2"]
    assert [mail.draft.mail_id for mail in store.with_metadata(SENDGRID, "m-1")] == ["m-1"]
    assert not list(store.with_metadata(SENDGRID, "m-2"))


def test_the_newest_come_first_and_numbers_are_not_given_twice(store: MailStore) -> None:
    store.accept(SENDGRID, [draft("m-1"), draft("m-2")])
    store.clear()
    store.accept(MAILGUN, [draft("m-3"), draft("m-4")])

    assert [(mail.number, mail.part) for mail in store.newest_first()] == [(4, 1), (3, 0)]
    assert store.get(1) is None
    assert not list(store.newest_first(provider=SENDGRID))
