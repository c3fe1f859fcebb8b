"""The mails of a simulation, good and bad. Making one costs more than simulating it, so each is made once a process."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from random import Random
from typing import Final

from postman.core.ids import MailId
from postman.core.mail import Address, Mail, OnDoubt
from postman.core.wire import digest, message_for
from postman.ports.queue import Message
from tests.simulation.process import WALL

__all__ = ["Kind", "Letter", "draw_letters"]

_TEXT: Final = "hello"
_OTHER: Final = "something else"


class Kind(StrEnum):
    """What is the matter with a mail."""

    GOOD = "good"
    MALFORMED = "malformed"
    """It cannot be decoded; a good one with the same id may follow."""
    CONFLICT = "conflict"
    """Its id is that of the mail before, its content is not."""
    REFUSED = "refused"
    """Every provider refuses it."""
    UNWELCOME = "unwelcome"
    """Some providers, or all, refuse its sender."""
    POISON = "poison"
    """A worker that begins to send it crashes."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail as it is published, and what the world will make of it."""

    mail_id: MailId
    kind: Kind
    message: Message
    text: str
    digest: str
    """Empty for one that cannot be decoded."""
    on_doubt: OnDoubt
    expires: float | None
    """Seconds from the beginning."""
    publish_at: float
    copies: int
    unwelcome_at: frozenset[str] = frozenset()


@lru_cache(maxsize=4_096)
def _made(number: int, on_doubt: OnDoubt, expires: float | None, text: str) -> tuple[Message, str]:
    mail = Mail(
        id=MailId(f"m{number}"),
        from_=Address(email="a@example.com"),
        to=(Address(email="b@example.com"),),
        text=text,
        on_doubt=on_doubt,
        expires_at=None if expires is None else datetime.fromtimestamp(WALL + expires, UTC),
    )
    return message_for(mail), digest(mail)


def draw_letters(random: Random, rates: dict[str, float], providers: list[str], chaos: float) -> list[Letter]:
    """Return six to ten mails and what comes with them."""
    letters: list[Letter] = []
    for number in range(random.randint(6, 10)):
        letters += _draw(random, rates, providers, chaos, number)
    return letters


def _draw(random: Random, rates: dict[str, float], providers: list[str], chaos: float, number: int) -> list[Letter]:
    kind = next((kind for kind in Kind if random.random() < rates.get(f"mail.{kind}", 0.0)), Kind.GOOD)
    on_doubt = random.choice(list(OnDoubt))
    expires = random.choice([60.0, 120.0, 180.0]) if random.random() < rates.get("mail.expires", 0.0) else None
    copies = 2 if random.random() < rates.get("mail.copies", 0.0) else 1
    at = random.random() * chaos * 0.6
    unwelcome = frozenset(name for name in providers if kind is Kind.UNWELCOME and random.random() < 0.7)
    message, content = _made(number, on_doubt, expires, _TEXT)
    good = Letter(
        MailId(f"m{number}"), Kind.GOOD, message, _TEXT, content, on_doubt, expires, at, copies, unwelcome_at=unwelcome
    )
    match kind:
        case Kind.MALFORMED:
            broken = Message(b'{"id":', {"mail_id": good.mail_id, "schema": "1"})
            bad = _like(good, kind, broken, "", "", at + random.uniform(-5.0, 5.0))
            return [bad] if random.random() < 0.5 else [bad, good]
        case Kind.CONFLICT:
            other, its_content = _made(number, on_doubt, expires, _OTHER)
            return [good, _like(good, kind, other, _OTHER, its_content, at + random.uniform(-5.0, 20.0))]
        case _:
            return [_like(good, kind, message, _TEXT, content, at)]


def _like(good: Letter, kind: Kind, message: Message, text: str, content: str, at: float) -> Letter:
    return Letter(
        good.mail_id,
        kind,
        message,
        text,
        content,
        good.on_doubt,
        good.expires,
        max(0.0, at),
        good.copies,
        good.unwelcome_at,
    )
