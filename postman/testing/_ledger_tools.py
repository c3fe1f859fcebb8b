"""What the parts of the ledger's contract share: short ways to ask a ledger and to judge its answers."""

from collections.abc import Awaitable, Iterable
from typing import Final
from uuid import uuid4

from postman.core.ids import MailId
from postman.core.protocol import Answer, Claim, Claimed, Doubtful, Entry, Held
from postman.errors import ClaimLostError
from postman.ports.clock import Clock
from postman.ports.ledger import Ledger
from postman.ports.provider import Receipt

__all__ = ["LONG", "RECEIPT", "ask", "count", "entry_of", "is_lost", "take", "take_over"]

LONG: Final = 120.0
"""Seconds of a lease that no test waits out."""

RECEIPT: Final = Receipt("alpha", "m-1")


async def ask(
    ledger: Ledger,
    mail_id: MailId,
    *,
    claim_id: str | None = None,
    digest: str = "digest",
    provider: str = "alpha",
    lease: float = LONG,
) -> Answer:
    claim_id = uuid4().hex if claim_id is None else claim_id
    return await ledger.claim(mail_id, claim_id=claim_id, digest=digest, provider=provider, lease=lease)


async def take(
    ledger: Ledger,
    mail_id: MailId,
    *,
    claim_id: str | None = None,
    digest: str = "digest",
    provider: str = "alpha",
    lease: float = LONG,
) -> Claim:
    answer = await ask(ledger, mail_id, claim_id=claim_id, digest=digest, provider=provider, lease=lease)
    assert isinstance(answer, Claimed), answer
    return answer.claim


async def take_over(ledger: Ledger, clock: Clock, mail_id: MailId, *, claim_id: str | None = None) -> Doubtful:
    for _ in range(20):
        answer = await ask(ledger, mail_id, claim_id=claim_id)
        if not isinstance(answer, Held):
            break
        await clock.sleep(answer.seconds + 0.01)
    assert isinstance(answer, Doubtful), answer
    return answer


async def entry_of(ledger: Ledger, mail_id: MailId) -> Entry:
    entry = await ledger.find(mail_id)
    assert entry is not None
    return entry


async def is_lost(record: Awaitable[object]) -> bool:
    try:
        await record
    except ClaimLostError:
        return True
    return False


def count(answers: Iterable[Answer], kind: type[object]) -> int:
    return sum(isinstance(answer, kind) for answer in answers)
