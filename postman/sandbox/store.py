"""What was accepted, in its order, with bounded memory for the heavy parts.

Numbers and ids are kept for ever, since the sandbox is asked whether a mail was sent twice; bodies and attachments only
of the newest mails.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from postman.sandbox.mails import Body, Draft, SentMail
from postman.sandbox.settings import ProviderName

__all__ = ["DROPPED", "MailStore", "bare"]

DROPPED = Body(text="", html="", headers={}, attachments=())
"""Stands in an old mail where its body was."""


class MailStore:
    """Accepted mails, newest last. Not for threads."""

    def __init__(self, keep: int, now: Callable[[], float]) -> None:
        self._keep = keep
        self._now = now
        self._last_number = 0
        self.clear()

    def clear(self) -> None:
        """Forget all mails; the numbering goes on."""
        self._mails: dict[int, SentMail] = {}
        self._whole: deque[int] = deque()
        self._copies: Counter[str] = Counter()
        self._by_provider: Counter[ProviderName] = Counter()
        self._by_mail_id: defaultdict[str, list[int]] = defaultdict(list)
        self._by_message_id: defaultdict[tuple[ProviderName, str], list[int]] = defaultdict(list)
        self._by_recipient: defaultdict[str, list[int]] = defaultdict(list)
        self._by_metadata: defaultdict[str, list[int]] = defaultdict(list)

    def accept(self, provider: ProviderName, drafts: Sequence[Draft]) -> list[SentMail]:
        """Take the mails of one request."""
        now = self._now()
        return [self._accept(provider, draft, part, now) for part, draft in enumerate(drafts)]

    def _accept(self, provider: ProviderName, draft: Draft, part: int, now: float) -> SentMail:
        self._last_number += 1
        mail = SentMail(number=self._last_number, provider=provider, accepted_at=now, part=part, draft=draft)
        self._mails[mail.number] = mail
        self._by_provider[provider] += 1
        self._index(mail)
        self._whole.append(mail.number)
        if len(self._whole) > self._keep:
            self._lighten(self._whole.popleft())
        return mail

    def _index(self, mail: SentMail) -> None:
        number, draft = mail.number, mail.draft
        if draft.mail_id:
            self._copies[draft.mail_id] += 1
            self._by_mail_id[draft.mail_id].append(number)
        self._by_message_id[mail.provider, bare(draft.message_id)].append(number)
        for recipient in mail.recipients:
            self._by_recipient[recipient.email.lower()].append(number)
        for value in set(draft.metadata.values()):
            self._by_metadata[value].append(number)

    def _lighten(self, number: int) -> None:
        mail = self._mails[number]
        self._mails[number] = replace(mail, draft=replace(mail.draft, body=DROPPED))

    def __len__(self) -> int:
        return len(self._mails)

    @property
    def distinct(self) -> int:
        """How many different mails were accepted; one without our id counts as different from all others."""
        return len(self._copies) + len(self) - self._copies.total()

    @property
    def duplicates(self) -> list[str]:
        """Our ids of the mails that were accepted more than once, by whichever provider."""
        return [mail_id for mail_id, count in self._copies.items() if count > 1]

    @property
    def by_provider(self) -> dict[ProviderName, int]:
        """How many mails each provider accepted."""
        return {provider: self._by_provider[provider] for provider in ProviderName}

    def get(self, number: int) -> SentMail | None:
        """Return the mail with this *number*."""
        return self._mails.get(number)

    def newest_first(self, *, provider: ProviderName | None = None, mail_id: str | None = None) -> Iterator[SentMail]:
        """Iterate over all mails, or those of one provider or id."""
        numbers: Iterable[int] = reversed(self._mails)
        if mail_id is not None:
            numbers = reversed(self._by_mail_id.get(mail_id, []))
        found = (self._mails[number] for number in numbers)
        return (mail for mail in found if provider in (None, mail.provider))

    def with_message_id(self, provider: ProviderName, message_id: str) -> list[SentMail]:
        """Return the mails with this provider's id, newest last; angle brackets around it do not matter."""
        return [self._mails[number] for number in self._by_message_id.get((provider, bare(message_id)), [])]

    def to_recipient(self, provider: ProviderName, email: str) -> Iterator[SentMail]:
        """Iterate over the mails that went to *email*, newest first."""
        return self._of(provider, self._by_recipient.get(email.lower(), []))

    def with_metadata(self, provider: ProviderName, value: str) -> Iterator[SentMail]:
        """Iterate over the mails that carry *value* under any name in their metadata, newest first."""
        return self._of(provider, self._by_metadata.get(value, []))

    def _of(self, provider: ProviderName, numbers: Sequence[int]) -> Iterator[SentMail]:
        found = (self._mails[number] for number in reversed(numbers))
        return (mail for mail in found if mail.provider is provider)


def bare(message_id: str) -> str:
    """Return *message_id* without angle brackets."""
    return message_id.strip().removeprefix("<").removesuffix(">")
