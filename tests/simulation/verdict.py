"""The judgement at the end: what became of every mail that was published."""

from typing import Final

from postman.core.entry import State
from postman.core.ids import MailId
from tests.simulation.cluster import Cluster
from tests.simulation.mails import Kind, Letter

__all__ = ["judge", "unfinished"]


def unfinished(cluster: Cluster) -> str:
    """Return what is not finished, in words."""
    waiting = [
        MailId(message.attributes.get("mail_id", "?")) for queue in cluster.town.queues for message in queue.messages
    ]
    states = {name: str(cluster.store.entries[name].state) for name in waiting if name in cluster.store.entries}
    return f"{waiting} {states}"


_AT_ONCE: Final = 5.0


def judge(cluster: Cluster) -> None:
    """Say of each mail that is neither sent nor a dead letter that it is lost."""
    for letter in cluster.plan.letters:
        _judge(cluster, letter)
        if cluster.plan.is_calm and letter.kind is Kind.GOOD:
            _judge_wait(cluster, letter)


def _judge_wait(cluster: Cluster, letter: Letter) -> None:
    if sum(other.mail_id == letter.mail_id for other in cluster.plan.letters) > 1:
        return
    cluster.stage.reached("a good mail among bad ones")
    waited = cluster.watch.finished_at[letter.mail_id] - letter.publish_at
    if waited > _AT_ONCE:
        cluster.stage.wrong(f"S5 {letter.mail_id}: waited {waited:.1f} s for no fault of its own")


def _judge(cluster: Cluster, letter: Letter) -> None:
    entry = cluster.store.entries.get(letter.mail_id)
    is_sent = entry is not None and entry.state is State.SENT and bool(letter.digest) and entry.digest == letter.digest
    dead = [
        message
        for store in cluster.town.dead
        for message in store.messages
        if message.data == letter.message.data and message.attributes.get("mail_id") == letter.mail_id
    ]
    if not is_sent and not dead:
        state = entry.state if entry else "unknown"
        cluster.stage.wrong(f"S1 {letter.mail_id}: lost: it is {state}, and no dead letter ({letter.kind})")
    if is_sent and not cluster.watch.acceptances[letter.mail_id]:
        cluster.stage.wrong(f"S1 {letter.mail_id}: recorded as sent, but nobody accepted it")
    for message in dead:
        if not message.attributes.get("dead_reason"):
            cluster.stage.wrong(f"S1 {letter.mail_id}: its dead letter has no reason")
