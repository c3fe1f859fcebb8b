"""The ledger's protocol against a naive model, which counts what happened and shares no code with it."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from postman.core import protocol
from postman.core.ids import MailId
from postman.core.protocol import Claim, Claimed, Conflict, Doubtful, Entry, Held, Settled
from postman.errors import ClaimLostError

MAIL = MailId("mail")
LEASE = 30
DIGESTS = st.sampled_from(["d1", "d1", "d1", "d1", "d2"])
PROVIDERS = st.sampled_from(["alpha", "beta"])
ANY = st.integers(0, 3)
"""Picks one of the claims made so far, the latest first."""


class ProtocolMachine(RuleBasedStateMachine):
    """Asks for anything in any order, as workers do that are paused, killed and started again."""

    def __init__(self) -> None:
        super().__init__()
        self.entry: Entry | None = None
        self.now = 0
        self.claims: list[Claim] = []
        # the model
        self.raised = 0
        self.granted = 0
        self.is_sent = False
        self.content = ""
        self.at = "free"
        self.owner = ""
        self.provider = ""
        self.ends = 0
        self.doubted = 0
        self.parked = False

    def ask(self, step: Any, /, **given: Any) -> Any:
        done = step(self.entry, float(self.now), **given)
        self.entry = done.entry
        return done.answer

    def is_lost(self, step: Any, /, **given: Any) -> bool:
        try:
            self.ask(step, **given)
        except ClaimLostError:
            return True
        return False

    def end(self, at: str) -> None:
        self.at, self.ends, self.parked = at, 0, False

    @rule(seconds=st.integers(1, 40))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule(digest=DIGESTS, provider=PROVIDERS, again=st.booleans(), which=ANY)
    def claim(self, digest: str, provider: str, again: bool, which: int) -> None:
        is_again = again and bool(self.claims)
        claim_id = (
            self.claims[-1 - which % len(self.claims)].claim_id if is_again else f"c{len(self.claims)}.{self.now}"
        )
        is_own = self.at == "sending" and self.owner == claim_id
        is_over = self.at == "free" and self.owner == claim_id
        answer = self.ask(
            protocol.claim, mail_id=MAIL, digest=digest, claim_id=claim_id, provider=provider, lease=float(LEASE)
        )
        assert type(answer) is self.expected(digest, is_own=is_own, is_over=is_over)
        if isinstance(answer, Claimed) and not is_own:
            self.raised, self.granted = self.raised + 1, self.granted + 1
            self.end("sending")
            self.content, self.owner, self.provider, self.ends = digest, claim_id, provider, self.now + LEASE
            self.claims.append(answer.claim)
            assert answer.claim.attempts == self.granted
        elif isinstance(answer, Claimed):
            assert answer.claim.token == self.raised
        elif isinstance(answer, Doubtful) and self.at == "sending":
            self.raised, self.owner, self.doubted = self.raised + 1, claim_id, self.now
            self.end("doubt")
        if isinstance(answer, Doubtful):
            assert (answer.entry.token, answer.age) == (self.raised, self.now - self.doubted)
        if isinstance(answer, Held):
            assert answer.seconds == (0 if is_over else self.ends - self.now)

    def expected(self, digest: str, *, is_own: bool, is_over: bool) -> type[object]:
        if is_own:
            return Claimed
        if self.content and self.content != digest:
            return Conflict
        if is_over:
            return Held
        if self.is_sent or (self.at == "refused" and self.content):
            return Settled
        if self.at == "doubt" or (self.at == "sending" and self.ends <= self.now):
            return Doubtful
        return Held if self.at == "sending" else Claimed

    def is_current(self, claim: Claim) -> bool:
        return self.at == "sending" and claim.token == self.raised

    @rule(which=ANY, provider=PROVIDERS)
    def move(self, which: int, provider: str) -> None:
        if self.claims:
            claim = self.claims[-1 - which % len(self.claims)]
            may = self.is_current(claim) and self.provider in (claim.provider, provider)
            assert self.is_lost(protocol.move, claim=claim, provider=provider) is not may
            if may:
                self.provider = provider

    @rule(which=ANY, how=st.sampled_from([("release", "free"), ("refuse", "refused"), ("doubt", "doubt")]))
    def record(self, which: int, how: tuple[str, str]) -> None:
        if self.claims:
            claim, (name, at) = self.claims[-1 - which % len(self.claims)], how
            is_done = claim.token == self.raised and (self.at == at or (self.at, at) == ("sent", "doubt"))
            may = self.is_current(claim) or is_done
            assert self.is_lost(getattr(protocol, name), claim=claim, reason="r") is not may
            if self.is_current(claim):
                self.doubted = self.now
                self.end(at)

    @rule(provider=PROVIDERS, message_id=st.sampled_from(["m1", "m2"]), luck=st.integers(1, 6))
    def acceptance(self, provider: str, message_id: str, luck: int) -> None:
        if luck < 6:
            return  # nothing follows it but itself: a rare end, so that stories grow long
        assert not self.is_lost(protocol.sent, provider=provider, message_id=message_id, evidence="e")
        if not self.is_sent:
            self.provider = provider
        self.is_sent = True
        self.end("sent")

    @rule(back=st.sampled_from([0, 1, -1]))
    def clear(self, back: int) -> None:
        token = self.raised - back
        may = self.entry is not None and back == 0 and self.at in ("doubt", "free")
        assert self.is_lost(protocol.clear_doubt, token=token, reason="r") is not may
        if may:
            self.end("free")

    @rule(digest=st.sampled_from(["", "d1", "d2"]))
    def refuse_unclaimed(self, digest: str) -> None:
        is_free = self.at == "free" and self.content in ("", digest)
        is_taken = is_free or (self.at == "refused" and not self.content and bool(digest))
        answer = self.ask(protocol.refuse_unclaimed, digest=digest, reason="r")
        assert answer == self.entry
        if is_taken:
            self.content = self.content or digest
            self.end("refused")

    @rule(back=st.sampled_from([0, 0, 1]))
    def park(self, back: int) -> None:
        self.ask(protocol.park, token=self.raised - back)
        if self.at in ("refused", "doubt") and back == 0:
            self.parked = True

    @rule()
    def reopen(self) -> None:
        may = self.at == "refused" or (self.at == "doubt" and self.parked)
        answer = self.ask(protocol.reopen, reason="r")
        assert answer == self.entry
        if may:
            self.raised += 1
            self.end("free")

    @invariant()
    def agrees(self) -> None:
        if self.entry is None:
            assert (self.at, self.raised, self.granted) == ("free", 0, 0)
            return
        assert self.entry.state.value == {"doubt": "in_doubt"}.get(self.at, self.at)
        assert (self.entry.token, self.entry.attempts) == (self.raised, self.granted)
        assert (self.entry.digest, self.entry.parked) == (self.content, self.parked)
        assert (self.entry.lease_ends > self.now) is (self.ends > self.now)
        if self.at in ("sending", "doubt", "sent"):
            assert self.entry.provider == self.provider
        assert (self.at == "sent") is self.is_sent


ProtocolMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestProtocolModel = ProtocolMachine.TestCase
