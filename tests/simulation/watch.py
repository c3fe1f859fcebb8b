"""The watch: sees every change and every request as it happens, and says when an invariant is broken.

It shares no code with what it judges: from the entries it reads only state, token, claim id, provider and the last
line of the history, and keeps its own account of claims, requests, acceptances and doubts, in true time.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from postman.core.entry import Entry, State
from postman.core.ids import MailId
from postman.core.layout import Layout
from postman.core.mail import OnDoubt
from postman.core.verdict import DeadReason
from postman.ports.queue import Message
from tests.simulation.mails import Kind, Letter
from tests.simulation.process import Process
from tests.simulation.stage import Stage
from tests.simulation.swarm import ProviderPlan

__all__ = ["Acceptance", "Post", "Watch"]

_ABSENT = "the provider does not have it"
_CHOSEN = "its owner chose resend"
_SOON = 0.001
_PEACE = 20.0
_MOST_VICTIMS = 2
_MOST_REPETITIONS = 60
_FOLLOWED = 15.0


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A provider took a mail."""

    at: float
    provider: str
    message_id: str


@dataclass(slots=True, eq=False)
class _Claim:
    """A right to send, as the ledger gave it."""

    process: Process
    token: int
    provider: str
    granted_at: float
    ends: float
    is_repetition: bool = False
    """Whether it is for the same provider under the same key, in doubt."""
    is_over: bool = False


@dataclass(slots=True, eq=False)
class Post:
    """A request to send, from the side of its process."""

    process: Process
    mail_id: MailId
    provider: str
    began: float
    ended: float | None = None
    is_unknown: bool = False


class Watch:
    """See the module."""

    def __init__(self, stage: Stage, letters: Sequence[Letter], providers: Mapping[str, ProviderPlan]) -> None:
        self._stage = stage
        self._letters: dict[MailId, list[Letter]] = defaultdict(list)
        for letter in letters:
            self._letters[letter.mail_id].append(letter)
        self._providers = providers
        self.entries: Mapping[MailId, Entry] = {}
        self.epochs: Sequence[Layout] = ()
        self.acceptances: dict[MailId, list[Acceptance]] = defaultdict(list)
        self.cleared: Counter[MailId] = Counter()
        """Doubts that were cleared without evidence."""
        self.dead: dict[MailId, list[tuple[float, Message]]] = defaultdict(list)
        """The dead letters that there ever were, and since when."""
        self._so_since: dict[MailId, float] = {}
        self._repetitions: Counter[MailId] = Counter()
        self._claims: dict[MailId, list[_Claim]] = defaultdict(list)
        self._owners: dict[tuple[MailId, int], str] = {}
        self._posts: dict[MailId, list[Post]] = defaultdict(list)
        self._doubted_at: dict[MailId, float] = {}
        self._lapses: Counter[MailId] = Counter()
        self._excused: Counter[MailId] = Counter()
        self._victims: Counter[MailId] = Counter()
        self._reopened: Counter[MailId] = Counter()
        self._faults: Counter[tuple[str, str]] = Counter()
        self._moving: Counter[tuple[Process, bytes]] = Counter()
        """What a process put into a queue, and has not acked elsewhere yet."""
        self.finished_at: dict[MailId, float] = {}

    def changed(self, process: Process, mail_id: MailId, name: str, before: Entry | None, after: Entry) -> None:
        """Judge one change of an entry."""
        was = None if before is None else before.state
        if self._stage.traces:
            self._stage.tell(f"{process.label} ledger.{name} {mail_id}: {was or '-'} -> {_shown(after)}")
        self._check_tokens(mail_id, before, after)
        if was is State.SENT and after.state is not State.SENT:
            self._stage.wrong(f"S2 {mail_id}: sent was taken back, it is {after.state}")
        if was is not after.state or (before and before.token != after.token):
            self._so_since[mail_id] = self._stage.loop.time()
        if after.parked and not (before and before.parked):
            self._parked(mail_id)
        if was is State.REFUSED and after.state is State.FREE:
            self._reopened[mail_id] += 1
            self._stage.reached("a refused mail was replayed")
        if was is State.SENDING:
            self._left_sending(process, mail_id, before, after)
        if after.state is State.SENDING and (was is not State.SENDING or before is None or before.token != after.token):
            self._granted(process, mail_id, before, after)
        if was is State.IN_DOUBT and after.state is State.FREE:
            self._cleared(mail_id, name, before, after)
        if after.state is State.SENT and was is not State.SENT:
            self._sent(process, mail_id, was, after)

    def _parked(self, mail_id: MailId) -> None:
        if not any(at >= self._so_since[mail_id] for at, _ in self.dead[mail_id]):
            self._stage.wrong(f"S1 {mail_id}: parked before the dead letter of what it is now was durable")

    def was_held(self, process: Process, mail_id: MailId) -> None:
        """Judge an answer that another worker is sending a mail, given to the one who is."""
        self._stage.wrong(f"S3 {mail_id}: {process.label}'s own claim is taken for another's")

    def _check_tokens(self, mail_id: MailId, before: Entry | None, after: Entry) -> None:
        if before and after.token < before.token:
            self._stage.wrong(f"S3 {mail_id}: its token went back from {before.token} to {after.token}")
        if after.claim_id:
            owner = self._owners.setdefault((mail_id, after.token), after.claim_id)
            if owner != after.claim_id and after.state in (State.SENDING, State.IN_DOUBT):
                self._stage.wrong(f"S3 {mail_id}: token {after.token} has two holders, {owner} and {after.claim_id}")

    def _granted(self, process: Process, mail_id: MailId, before: Entry | None, after: Entry) -> None:
        now = self._stage.loop.time()
        repeats = before is not None and before.state is State.IN_DOUBT
        if before and before.claim_id == after.claim_id:
            self._stage.wrong(f"S3 {mail_id}: granted to claim {after.claim_id} again, which is over")
        if repeats:
            self._stage.reached("an idempotency key was repeated")
            self._repetitions[mail_id] += 1
            if self._repetitions[mail_id] == _MOST_REPETITIONS:
                self._stage.wrong(f"S5 {mail_id}: its key was repeated {_MOST_REPETITIONS} times")
            if before and (after.provider != before.provider or not self._providers[after.provider].idempotent_for):
                self._stage.wrong(
                    f"S4 {mail_id}: claimed for {after.provider} while it is in doubt at {before.provider}"
                )
        for claim in self._claims[mail_id]:
            if not claim.is_over and claim.ends > now:
                self._stage.wrong(
                    f"S3 {mail_id}: granted to {process.label}, while {claim.process.label} has it"
                    f" for {claim.ends - now:.3f} s more"
                )
        lease = after.lease_ends - self._stage.time()
        self._claims[mail_id].append(_Claim(process, after.token, after.provider, now, now + lease, repeats))
        if after.attempts > 1:
            self._stage.reached("a mail was claimed again")

    def _left_sending(self, process: Process, mail_id: MailId, before: Entry | None, after: Entry) -> None:
        claim = self._current(mail_id, before)
        if claim is None:
            return
        now = self._stage.loop.time()
        match after.state:
            case State.SENDING if before and after.token == before.token:
                if after.provider != claim.provider:
                    self._stage.reached("failed over")
                    claim.provider = after.provider
            case State.IN_DOUBT if after.token != claim.token or process is not claim.process:
                self._taken_over(process, mail_id, claim, now)
            case State.IN_DOUBT:
                claim.is_over = True
                self._doubted(process, mail_id, claim, now)
            case State.FREE | State.REFUSED:
                claim.is_over = True
                if process is not claim.process:
                    self._stage.wrong(f"S3 {mail_id}: {process.label} ends the claim of {claim.process.label}")
            case _:
                claim.is_over = after.state is not State.SENT or self._has_sent(process, mail_id, claim)

    def _has_sent(self, process: Process, mail_id: MailId, claim: _Claim) -> bool:
        """Whether *process* sent under its own *claim*; else an earlier delivery, in the same worker, was heard of."""
        posts = self._posts[mail_id]
        return process is claim.process and any(p.process is process and p.began >= claim.granted_at for p in posts)

    def _taken_over(self, process: Process, mail_id: MailId, claim: _Claim, now: float) -> None:
        fate = "the dead" if claim.process.is_dead else "who stands still" if claim.process.is_paused else "the living"
        self._stage.reached(f"taken over from {fate}")
        claim.is_over = True
        self._doubted_at[mail_id] = now
        if process.is_dead:
            self._excused[mail_id] += 1  # its last request takes over from itself, so that its end is not counted
        self._lapses[mail_id] += 1
        if now < claim.ends - _SOON:
            self._stage.wrong(
                f"S3 {mail_id}: {process.label} took it over before {claim.process.label}'s lease was over"
            )
        holder = claim.process  # one that stood still already when a late request of it was granted, stands there yet
        if not holder.is_dead and not holder.is_paused and holder.troubled_at < claim.granted_at - _SOON:
            self._stage.wrong(f"S5 {mail_id}: in doubt without cause: nothing befell {holder.label}")

    def _doubted(self, process: Process, mail_id: MailId, claim: _Claim, now: float) -> None:
        posts = [post for post in self._posts[mail_id] if post.process is process and post.began >= claim.granted_at]
        is_unknown = any(post.is_unknown for post in posts)
        if claim.is_repetition and not is_unknown:
            return  # nothing arrived: the doubt is as old as it was
        self._doubted_at[mail_id] = now
        if not is_unknown and process.troubled_at < claim.granted_at:
            self._stage.wrong(f"S5 {mail_id}: {process.label} is in doubt without cause")

    def _cleared(self, mail_id: MailId, name: str, before: Entry | None, after: Entry) -> None:
        provider = before.provider if before else ""
        plan = self._providers[provider]
        reason = after.history[-1].detail
        on_doubt = self._on_doubt(mail_id)
        waited = self._stage.loop.time() - self._doubted_at[mail_id]
        if name == "reopen":
            self._reopened[mail_id] += 1
            self._stage.reached("a doubtful mail was replayed")
            self.cleared[mail_id] += 1
            return
        self._stage.reached(f"cleared: {reason}")
        if on_doubt is OnDoubt.HOLD:
            self._stage.wrong(f"S4 {mail_id}: its owner chose hold, its doubt was cleared: {reason}")
        if reason != _ABSENT:
            self.cleared[mail_id] += 1
            if reason == _CHOSEN and on_doubt is not OnDoubt.RESEND:
                self._stage.wrong(f"S4 {mail_id}: its owner did not choose resend")
        elif not plan.look_up_after or waited < plan.look_up_after - _SOON:
            self._stage.wrong(
                f"S5 {mail_id}: taken for absent at {provider} after {waited:.3f} s, not {plan.look_up_after:.0f} s"
            )

    def _sent(self, process: Process, mail_id: MailId, was: State | None, after: Entry) -> None:
        self.finished_at.setdefault(mail_id, self._stage.loop.time())
        evidence = after.history[-1].detail
        self._stage.reached(f"sent from {was or 'nothing'} by {evidence}")
        if process.name == "events" and any(post.ended is None for post in self._posts[mail_id]):
            self._stage.reached("an event came before the answer")
        if not any(one.provider == after.provider for one in self.acceptances[mail_id]):
            self._stage.wrong(f"S2 {mail_id}: recorded as sent, but {after.provider} did not accept it")

    def crashed_by(self, process: Process, mail_id: MailId) -> None:
        """Judge that a poison mail ended another worker."""
        self._stage.reached("a poison mail crashed its worker")
        self._stage.tell(f"{process.label} is killed by {mail_id}")
        self._victims[mail_id] += 1
        if self._victims[mail_id] > _MOST_VICTIMS * (1 + self._reopened[mail_id]) + self._excused[mail_id]:
            self._stage.wrong(f"S5 {mail_id}: it ended {self._victims[mail_id]} workers")

    def post_begins(self, process: Process, mail_id: MailId, text: str, provider: str, timeout: float) -> Post:
        """Judge the beginning of a request to send a mail with *text*."""
        now = self._stage.loop.time()
        post = Post(process, mail_id, provider, now)
        self._posts[mail_id].append(post)
        self._stage.tell(f"{process.label} sends {mail_id} to {provider}")
        entry = self.entries.get(mail_id)
        if entry and any(letter.digest == entry.digest and letter.text != text for letter in self._letters[mail_id]):
            self._stage.wrong(f"S4 {mail_id}: {process.label} sends another content than its id stands for")
        claim = self._claim_for(process, mail_id, provider, now)
        if claim is not None:
            if claim.ends - now < timeout - _SOON:
                self._stage.wrong(
                    f"S4 {mail_id}: {process.label} sends with {claim.ends - now:.3f} s of its lease left,"
                    f" for a request of up to {timeout:.1f} s"
                )
            if entry and entry.state is State.SENT:
                self._stage.reached("sent by evidence while its worker was about to send")
        else:
            state = f"{entry.state} token {entry.token} at {entry.provider or '-'}" if entry else "unknown"
            self._stage.wrong(f"S4 {mail_id}: {process.label} sends to {provider}, the ledger says {state}")
        return post

    def post_ends(self, post: Post, how: str) -> None:
        """Note how a request ended for who made it."""
        post.ended = self._stage.loop.time()
        if how == "CancelledError":
            self._stage.reached("a request was cut short by a drain")
        post.is_unknown = how in ("OutcomeUnknownError", "CancelledError")
        self._stage.tell(f"{post.process.label} hears of {post.mail_id} at {post.provider}: {how}")

    def accepted(self, mail_id: MailId, provider: str, message_id: str) -> None:
        """Count what a provider took."""
        self.acceptances[mail_id].append(Acceptance(self._stage.loop.time(), provider, message_id))
        self._stage.tell(f"{provider} accepts {mail_id} as {message_id}")
        copies, allowed = len(self.acceptances[mail_id]), 1 + self.cleared[mail_id]
        if copies > allowed:
            self._stage.wrong(f"S4 {mail_id}: accepted {copies} times, {self.cleared[mail_id]} doubts without evidence")
        elif copies > 1:
            self._stage.reached("a second copy, as its owner chose")

    def published(self, process: Process, message: Message, *, is_dead: bool) -> None:
        """Note what a queue keeps."""
        mail_id = MailId(message.attributes.get("mail_id", ""))
        if is_dead:
            self._stage.reached(f"dead letter: {message.attributes.get('dead_reason')}")
            self._stage.tell(f"{process.label} dead-letters {mail_id}: {message.attributes.get('dead_reason')}")
            self.dead[mail_id].append((self._stage.loop.time(), message))
            self._judge_poison(mail_id, message)
            self.finished_at.setdefault(mail_id, self._stage.loop.time())
        else:
            self._stage.tell(f"{process.label} publishes {mail_id}")
            self._moving[process, message.data] += 1

    def pulled(self, process: Process, queue: str) -> None:
        """Judge that a worker asks for mails: of a shard that was paused long ago, unless something befell it, none."""
        shard = int(queue.rpartition("-")[2])
        since = inf
        for layout in reversed(self.epochs):
            if shard not in layout.paused:
                break
            since = layout.changed_at
        if since == inf:
            return
        peace = min(self._stage.time() - since, self._stage.loop.time() - process.troubled_at)
        self._stage.reached("a pull at a shard that was just paused")
        if peace > _FOLLOWED:
            self._stage.wrong(f"S6 {process.label}: pulls from {queue}, which was paused {peace:.1f} s ago or more")

    def acked(self, process: Process, message: Message, *, is_dead: bool) -> None:
        """Judge the end of a message: what it stands for must be durable elsewhere."""
        mail_id = MailId(message.attributes.get("mail_id", ""))
        self._stage.tell(f"{process.label} acks {'the dead letter of ' if is_dead else ''}{mail_id}")
        if is_dead or any(letter.data == message.data for _, letter in self.dead[mail_id]):
            return
        if self._moving[process, message.data]:
            self._moving[process, message.data] -= 1
            self._stage.reached("moved to another shard")
            return
        entry = self.entries.get(mail_id)
        contents = [letter.digest for letter in self._letters[mail_id] if letter.message.data == message.data]
        if entry is None or entry.state is not State.SENT or entry.digest not in contents:
            state = entry.state if entry else "unknown"
            self._stage.wrong(f"S1 {mail_id}: acked by {process.label}, but it is {state} and has no dead letter")
        elif all(claim.process is not process for claim in self._claims[mail_id]):
            self._stage.reached("acked by another than who sent it")

    def opened(self, process: Process, provider: str) -> None:
        """Judge a breaker that opens."""
        self._stage.reached("a breaker opened")
        self._stage.tell(f"{process.label} opens its breaker at {provider}")
        if not self._faults[process.label, provider]:
            self._stage.wrong(f"S5 {process.label}: its breaker at {provider} opened, which did nothing wrong")

    def failed(self, process: Process, provider: str) -> None:
        """Note something that is the provider's fault, or looks like it."""
        self._faults[process.label, provider] += 1

    def _judge_poison(self, mail_id: MailId, message: Message) -> None:
        if message.attributes.get("dead_reason") != DeadReason.POISON:
            return
        if any(letter.kind is Kind.POISON for letter in self._letters[mail_id]):
            return
        self._stage.reached("an innocent mail was taken for poison")
        if self._lapses[mail_id] < _MOST_VICTIMS:
            self._stage.wrong(f"S5 {mail_id}: taken for poison after {self._lapses[mail_id]} ends of its workers")

    def stopped(self, process: Process) -> None:
        """Judge what a worker leaves behind that drained in peace. What it still asked for is granted to nobody."""
        troubled_at, process.troubled_at = process.troubled_at, inf
        if self._stage.loop.time() - troubled_at < _PEACE:
            return
        self._stage.reached("drained in peace")
        for mail_id, entry in self.entries.items():
            claim = self._current(mail_id, entry)
            if entry.state is not State.SENDING or claim is None or claim.process is not process:
                continue
            if troubled_at < claim.granted_at - _SOON:  # else a late request of it was granted, to nobody
                self._stage.wrong(f"S5 {mail_id}: {process.label} drained, and left it claimed")

    def _current(self, mail_id: MailId, entry: Entry | None) -> _Claim | None:
        token = entry.token if entry else 0
        return next((claim for claim in reversed(self._claims[mail_id]) if claim.token == token), None)

    def _claim_for(self, process: Process, mail_id: MailId, provider: str, now: float) -> _Claim | None:
        """Return the claim in whose name *process* may send to *provider*."""
        for claim in reversed(self._claims[mail_id]):
            if claim.process is process and not claim.is_over and claim.provider == provider and claim.ends > now:
                return claim
        return None

    def _on_doubt(self, mail_id: MailId) -> OnDoubt:
        entry = self.entries[mail_id]
        return next(letter.on_doubt for letter in self._letters[mail_id] if letter.digest in (entry.digest, ""))


def _shown(entry: Entry) -> str:
    parked = " parked" if entry.parked else ""
    note = f" ({entry.history[-1].event}: {entry.history[-1].detail})" if entry.history else ""
    return f"{entry.state} token {entry.token} at {entry.provider or '-'}{parked}{note}"
