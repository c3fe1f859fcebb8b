"""Two clusters that send through one account: neither believes what is told of the other's mails."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from postman import Address, Mail
from postman.adapters._mailgun_payload import mailgun_form
from postman.adapters._sendgrid_payload import sendgrid_payload
from postman.adapters.memory import MemoryLedger, MemorySuppressions
from postman.core.entry import State
from postman.core.events import EventKind, MailEvent, address_key
from postman.core.ids import MailId
from postman.ports.events import EventPost
from postman.runtime.receiver import Outcome, Receiver
from postman.testing.clock import FakeClock

BOUNCE = MailEvent("alpha", EventKind.BOUNCED, "order-1", 1.0, recipient="bob@example.org", is_permanent=True)


class Told:
    """A source that is told what to tell."""

    name = "alpha"
    body_limit = 1_000

    def __init__(self, cluster: str) -> None:
        self.cluster = cluster

    def read(self, headers: Mapping[str, str], body: bytes, *, now: float) -> EventPost:
        return EventPost((replace(BOUNCE, cluster=self.cluster),))


@pytest.mark.parametrize(("cluster", "is_ours"), [("shop", True), ("", True), ("staging", False)])
async def test_events_of_another_clusters_mails_are_unknown(cluster: str, *, is_ours: bool) -> None:
    """An older postman's mails do not say whose they are, and count as ours."""
    clock = FakeClock()
    ledger, suppressions = MemoryLedger(clock), MemorySuppressions(clock)
    receiver = Receiver(
        ledger=ledger, suppressions=suppressions, sources=[Told(cluster)], clock=clock, kept_for=0.0, cluster="shop"
    )
    await ledger.claim(MailId("order-1"), claim_id="c", digest="d", provider="alpha", lease=60.0)

    outcome = await receiver.receive("alpha", {}, b"")
    entry = await ledger.find(MailId("order-1"))
    assert entry is not None
    assert outcome == (Outcome(noted=1) if is_ours else Outcome(unknown=1))
    assert entry.state is (State.SENT if is_ours else State.SENDING)
    assert (await suppressions.find(address_key("bob@example.org")) is not None) is is_ours


def test_a_mail_says_whose_it_is() -> None:
    one = Mail(from_=Address(email="a@example.org"), to=(Address(email="b@example.org"),), subject="s", text="t")
    assert b'"postman_cluster":"shop"' in sendgrid_payload(one, "alpha", "shop")
    assert b"postman_cluster" not in sendgrid_payload(one, "alpha")
    assert ("v:postman_cluster", (None, b"shop", None)) in mailgun_form(one, "alpha", "shop")
