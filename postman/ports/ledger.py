"""The ledger: the atomic record of what became of each mail.

It is the one place where "was it sent?" is decided. Its states and who may move
them are `postman.core.protocol`; an adapter adds atomicity, durability and one
clock (its server's), nothing else. A method that returns has made its change
durable. `LedgerUnavailableError` means the change *may* have been made: the
same call may be made again, and recognises what it did.

Concurrent calls for different mails travel in groups, at the adapter's
discretion; each call has its own result, whatever becomes of its neighbours.
No method takes longer than about ten seconds before it raises.
"""

from collections.abc import Sequence
from typing import Protocol

from postman.core.events import MailEvent
from postman.core.ids import MailId
from postman.core.protocol import Answer, Claim, Entry
from postman.ports.provider import Receipt

__all__ = ["Ledger"]


class Ledger(Protocol):
    """See the module. What takes a `Claim`, but `record_sent`, raises `ClaimLostError` where it is outdated."""

    async def claim(
        self,
        mail_id: MailId,
        *,
        claim_id: str,
        digest: str,
        provider: str,
        lease: float,
        recipients: Sequence[str] = (),
    ) -> Answer:
        """Ask for the right to send, for *lease* seconds; the entry then names *provider*.

        *claim_id* is unique for each claim, and the same when a call is made again after an error; what stands before a
        full stop in it is the worker's own, so that nobody takes a living worker for a dead one. A *sending* entry
        whose lease is over is put in doubt by this call. *recipients*, at most twenty tags (`address_tag`), are those
        by which the mail can be found (`postman.ports.records`); they change nothing else.
        """
        ...

    async def move(self, claim: Claim, provider: str) -> Claim:
        """Name *provider* as the one that may hold the mail from now on; use the claim returned.

        `ClaimLostError` also where *claim* names an earlier provider than the entry: a later move was made.
        """
        ...

    async def release(self, claim: Claim, *, reason: str) -> None:
        """Give the right back: the mail was certainly not sent."""
        ...

    async def record_sent(self, claim: Claim, receipt: Receipt) -> None:
        """Record the acceptance, also where the claim was lost meanwhile."""
        ...

    async def record_refused(self, claim: Claim, *, reason: str) -> None:
        """Record that the mail will not be sent, by its own fault."""
        ...

    async def record_doubt(self, claim: Claim, *, reason: str, since: float | None = None) -> None:
        """Record that the provider may have taken it: at the latest now, or at *since*, if nothing arrived after that.

        *since* is `Entry.since` of the doubt before.
        """
        ...

    async def settle(self, mail_id: MailId, receipt: Receipt, *, evidence: str) -> None:
        """Record an acceptance learnt in another way (a look-up, an event); makes an entry where there is none."""
        ...

    async def record_event(self, mail_id: MailId, event: MailEvent) -> Entry | None:
        """Note what a provider tells of a mail that it took, which settles doubt; return the entry as it is now.

        None, and nothing is noted, where the mail is not known or was never that provider's. May be told again.
        """
        ...

    async def repeat(self, mail_id: MailId, *, token: int, claim_id: str, lease: float) -> Claim:
        """Take the right to send a mail that was in doubt with *token* again under the same key, at the same provider.

        `ClaimLostError` where it is so no more, or too many workers ended with it. *claim_id* is as for `claim`.
        """
        ...

    async def clear_doubt(self, mail_id: MailId, *, token: int, reason: str) -> None:
        """Free a mail that was in doubt with *token*; `ClaimLostError` where it is so no more."""
        ...

    async def refuse(self, mail_id: MailId, *, digest: str, reason: str, recipients: Sequence[str] = ()) -> Entry:
        """Refuse a mail that nobody is sending; return the entry as it is now, refused or not.

        *recipients* are as for `claim`.
        """
        ...

    async def park(self, mail_id: MailId, *, token: int) -> None:
        """Record that the dead letter of a mail that is refused, or in doubt, with *token* is durable."""
        ...

    async def drop(self, mail_id: MailId, *, reason: str) -> None:
        """Record that somebody removed the mail's dead letter for good, and why; of any other mail nothing."""
        ...

    async def reopen(self, mail_id: MailId, *, reason: str) -> Entry | None:
        """Let a dead-lettered mail be sent again; return the entry as it is now, None where there is none."""
        ...

    async def find(self, mail_id: MailId) -> Entry | None:
        """Return what is known of a mail."""
        ...

    async def ensure(self) -> None:
        """Make what is missing (tables); idempotent."""
        ...

    async def check(self) -> None:
        """Return if the ledger can be used, else raise `LedgerUnavailableError` or `ConfigError` within seconds."""
        ...

    async def aclose(self) -> None:
        """Finish what is under way and close."""
        ...
