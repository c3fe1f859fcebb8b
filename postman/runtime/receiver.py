"""What is done with a post of events.

Verified, each event is noted at its mail: as proof that the provider took it,
and for who asks what became of it. A hard bounce or a complaint puts the
address on the suppression list, but only where the mail is one of ours: others
may send through the same account. Nothing here makes a mail known, or sends
one; and nothing that is not proven changes anything.

`LedgerUnavailableError` leaves some events noted and others not. Whoever posted
them shall do so again: all of it may be told twice.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Final

import structlog

from postman.core.events import EventKind, MailEvent
from postman.core.ids import MailId
from postman.core.suppression import suppression_of
from postman.errors import ForgedEventError, LedgerUnavailableError
from postman.ports.clock import Clock
from postman.ports.events import EventPost, EventSource
from postman.ports.ledger import Ledger
from postman.ports.suppressions import Suppressions
from postman.runtime.nonces import Nonces

__all__ = ["Outcome", "Receiver"]

_LOG = structlog.get_logger("postman.receiver")

_AT_ONCE: Final = 50
"""Mails whose events are noted at the same time, of all posts together."""
_LARGE: Final = 128 * 1024
"""Bytes of a post that would hold up the event loop for more than some hundredths of a second."""
_QUIET: Final = 1.0
_BAD: Final = frozenset({EventKind.BOUNCED, EventKind.DROPPED, EventKind.COMPLAINED})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the events of one post."""

    noted: int = 0
    unknown: int = 0
    """Of mails that are not ours (another *cluster's*, by what was sent with them), or were never this provider's."""
    unread: int = 0
    """Damaged, or of a kind that does not concern us."""
    repeated: int = 0
    """In a post that was dealt with before."""


class Receiver:
    """Deals with the posts of *sources*. Use it from one event loop.

    *suppressions* is None where no list is kept; *kept_for* is how many seconds a hard bounce stays there, 0 for ever.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        suppressions: Suppressions | None,
        sources: Iterable[EventSource],
        clock: Clock,
        kept_for: float,
        cluster: str = "",
        nonces: Nonces | None = None,
    ) -> None:
        self._ledger = ledger
        self._suppressions = suppressions
        self._sources = {source.name: source for source in sources}
        self._clock = clock
        self._kept_for = kept_for
        self._ours = ("", cluster)
        self._nonces = Nonces() if nonces is None else nonces
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._tell_again_at = -inf
        self.counts: Counter[str] = Counter()
        """How many events were noted, unknown, unread and repeated, and how many posts were forged."""

    def change(self, sources: Iterable[EventSource]) -> None:
        """Verify by *sources* from now on; a post that is being read goes on by those before."""
        self._sources = {source.name: source for source in sources}

    @property
    def providers(self) -> Sequence[str]:
        """Whose posts can be verified."""
        return sorted(self._sources)

    def body_limit(self, provider: str) -> int:
        """Return the bytes that a post of *provider*, one of `providers`, may have."""
        return self._sources[provider].body_limit

    async def receive(self, provider: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Deal with one post; *provider* is one of `providers`.

        Raises `ForgedEventError`, and then changed nothing, and `LedgerUnavailableError`.
        """
        now = self._clock.time()
        try:
            post = await self._read(provider, headers, body, now)
            with self._nonces.use(provider, post.nonce, body, now=self._clock.now()) as is_known:
                outcome = _repetition_of(post) if is_known else await self._note(post, now)
        except ForgedEventError as error:
            self._count_forged(provider, error)
            raise
        self._count(provider, outcome)
        return outcome

    async def _read(self, provider: str, headers: Mapping[str, str], body: bytes, now: float) -> EventPost:
        source = self._sources.get(provider)
        if source is None:
            raise ForgedEventError("this provider was taken out of the document meanwhile")
        read = partial(source.read, headers, body, now=now)
        return read() if len(body) < _LARGE else await asyncio.to_thread(read)

    async def _note(self, post: EventPost, now: float) -> Outcome:
        """Note the events of different mails together, those of one mail in their order."""
        known = [event for event in post.events if event.mail_id and event.cluster in self._ours]
        noting = _Noting(iter(_by_mail(known)))
        await asyncio.gather(*(self._work(noting, now) for _ in range(min(_AT_ONCE, len(known)))))
        if noting.failure is not None:
            raise noting.failure
        return Outcome(noting.noted, len(post.events) - noting.noted, post.unread)

    async def _work(self, noting: "_Noting", now: float) -> None:
        for events in noting.left:
            try:
                async with self._slots:
                    noted = await self._note_events(events, now)
                noting.noted += noted
            except LedgerUnavailableError as error:
                noting.failure = error
            if noting.failure is not None:
                return

    async def _note_events(self, events: Sequence[MailEvent], now: float) -> int:
        """Note the events of one mail; return how many were of a mail of ours."""
        return sum([await self._note_event(event, now) for event in events])

    async def _note_event(self, event: MailEvent, now: float) -> bool:
        """Return whether the event is of a mail of ours."""
        entry = await self._ledger.record_event(MailId(event.mail_id), event)
        if entry is None:
            _LOG.debug("event_unknown", mail_id=event.mail_id, provider=event.provider, kind=str(event.kind))
            return False
        tell = _LOG.info if event.kind in _BAD else _LOG.debug
        tell("event_noted", mail_id=event.mail_id, provider=event.provider, kind=str(event.kind), detail=event.detail)
        suppression = suppression_of(event, now, kept_for=self._kept_for)
        if suppression is not None and self._suppressions is not None:
            await self._suppressions.put(suppression)
            _LOG.info("suppressed", mail_id=event.mail_id, provider=event.provider, reason=str(suppression.reason))
        return True

    def _count_forged(self, provider: str, error: ForgedEventError) -> None:
        """Tell of some of them: whoever forges shall not fill the log."""
        self.counts["forged"] += 1
        now = self._clock.now()
        if now >= self._tell_again_at:
            self._tell_again_at = now + _QUIET
            _LOG.warning("event_post_refused", provider=provider, reason=str(error), so_far=self.counts["forged"])

    def _count(self, provider: str, outcome: Outcome) -> None:
        found = {
            "noted": outcome.noted,
            "unknown": outcome.unknown,
            "unread": outcome.unread,
            "repeated": outcome.repeated,
        }
        self.counts.update(found)
        _LOG.info("events_received", provider=provider, **found)


@dataclass(slots=True)
class _Noting:
    """One post on its way into the ledger, dealt with by several tasks."""

    left: Iterator[Sequence[MailEvent]]
    noted: int = 0
    failure: LedgerUnavailableError | None = None


def _by_mail(events: Iterable[MailEvent]) -> Iterable[Sequence[MailEvent]]:
    found: dict[str, list[MailEvent]] = {}
    for event in events:
        found.setdefault(event.mail_id, []).append(event)
    return found.values()


def _repetition_of(post: EventPost) -> Outcome:
    return Outcome(repeated=len(post.events) + post.unread)
