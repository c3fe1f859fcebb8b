"""The story: mails flow, a provider goes down, a worker is killed, and in the end all are accounted for."""

import asyncio
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from postman.config import Settings
from postman.core.ids import MailId
from postman.core.protocol import State
from postman.entrypoints.demo.cluster import Cluster, environment_for
from postman.entrypoints.demo.mails import bad_messages, make_mails
from postman.entrypoints.demo.tally import Tally, count
from postman.ports.ledger import Ledger
from postman.ports.queue import ShardMap
from postman.runtime.deadletters import Choice, DeadLetters
from postman.runtime.producer import Producer
from postman.wiring import open_ledger, open_producer, open_shards

__all__ = ["Story", "play"]

_PATIENCE: Final = 120.0
_ANSWER_TIME: Final = 0.15
_AT_ONCE: Final = 100
_SETTLED: Final = (State.SENT, State.REFUSED)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Story:
    """How the demonstration goes."""

    mails: int = 600
    shards: int = 8
    per_second: float = 60.0


async def play(story: Story, *, say: Say, progress: Callable[[int], None]) -> Tally:
    """Play it, and return what became of every mail; *say* tells what happens, *progress* how many are through."""
    run = secrets.token_hex(3)
    folder = Path(tempfile.mkdtemp(prefix="postman-demo-"))
    environ, backends = environment_for(folder, run=run, shards=story.shards)
    say(f"backends: {backends}; {story.shards} shards; logs in {folder}")
    async with Cluster(folder, environ) as cluster:
        tally = await _play(story, cluster, environ, run, say=say, progress=progress)
    if tally.is_good:
        shutil.rmtree(folder)
    return tally


async def _play(
    story: Story, cluster: Cluster, environ: Mapping[str, str], run: str, *, say: Say, progress: Callable[[int], None]
) -> Tally:
    settings = Settings.from_env(environ)
    os.environ.setdefault("GOOGLE_CLOUD_PROJECT", environ["GOOGLE_CLOUD_PROJECT"])
    shards, ledger = open_shards(settings), open_ledger(settings)
    try:
        await shards.ensure()
        await ledger.ensure()
        login_url, _ = await asyncio.gather(cluster.start_console(), cluster.start_sandbox())
        say(f"console: open {login_url} while it plays")
        say(f"sandbox: SendGrid and Mailgun, and what they accept, at {cluster.url}")
        await asyncio.gather(cluster.start_worker("worker-1"), cluster.start_worker("worker-2"))
        await cluster.wait_for_workers("worker-1", "worker-2")
        say("two workers are listening on all shards")
        await _slow_down(cluster)
        published = await _publish_amid_trouble(story, cluster, settings, shards, run, say)
        tally = await _wait_for_all(published, cluster, shards, ledger, progress)
        say(f"worker-2 was asked to stop, drained, and exited with {await cluster.stop('worker-2')}")
        return tally
    finally:
        await shards.aclose()
        await ledger.aclose()


async def _slow_down(cluster: Cluster) -> None:
    """Let answers take as long as they do over the Internet, so that something is in flight when a worker dies."""
    for provider in ("sendgrid", "mailgun"):
        await cluster.set_fault(provider, [{"kind": "slow", "seconds": _ANSWER_TIME}])


async def _publish_amid_trouble(
    story: Story, cluster: Cluster, settings: Settings, shards: ShardMap, run: str, say: Say
) -> list[str]:
    published = []
    for number, message in enumerate(bad_messages(run=run)):
        await shards.queue(number % story.shards).publish(message)
        published.append(message.attributes["mail_id"])
    say(f"published {len(published)} messages that are no mails, past every check")
    troubles = _troubles(story, cluster, say)
    with open_producer(settings, Producer) as producer:
        published += await _publish(story, producer, run, troubles)
    say(f"published {len(published)} in all")
    return published


def _troubles(story: Story, cluster: Cluster, say: Say) -> "dict[int, Callable[[], asyncio.Future[None]]]":
    """Return what happens after how many mails."""

    async def down() -> None:
        await cluster.set_fault("sendgrid", [{"kind": "refuse"}])
        say("SendGrid is down: its connections are refused")

    async def kill() -> None:
        await cluster.kill("worker-1")
        say("worker-1 was killed (SIGKILL) with mails in flight")

    async def back() -> None:
        await cluster.set_fault("sendgrid", [{"kind": "slow", "seconds": _ANSWER_TIME}])
        say("SendGrid is back")

    async def replace() -> None:
        await cluster.start_worker("worker-3")
        say("worker-3 takes the place of worker-1")

    plan = {0.25: down, 0.5: kill, 0.7: back, 0.8: replace}
    return {int(share * story.mails): lambda act=act: asyncio.ensure_future(act()) for share, act in plan.items()}  # type: ignore[misc]


async def _publish(
    story: Story, producer: Producer, run: str, troubles: "Mapping[int, Callable[[], asyncio.Future[None]]]"
) -> list[str]:
    began = time.monotonic()
    publishing, happening = [], []
    for number, mail in enumerate(make_mails(story.mails, run=run)):
        if trouble := troubles.get(number):
            happening.append(trouble())
        await asyncio.sleep(began + number / story.per_second - time.monotonic())
        publishing.append(asyncio.ensure_future(producer.apublish(mail)))
    await asyncio.gather(*happening)
    return [str(mail_id) for mail_id in await asyncio.gather(*publishing)]


async def _wait_for_all(
    published: list[str], cluster: Cluster, shards: ShardMap, ledger: Ledger, progress: Callable[[int], None]
) -> Tally:
    """Return the tally when the ledger says of every mail what became of it, or when patience is over."""
    until = time.monotonic() + _PATIENCE
    dead_letters = DeadLetters(shards=shards, ledger=ledger)
    open_ids = set(published)
    while open_ids and time.monotonic() < until:
        await asyncio.sleep(0.5)
        open_ids -= await _settled(ledger, open_ids)
        progress(len(published) - len(open_ids))
    dead = await dead_letters.find(Choice())
    return count(published, await cluster.accepted(), dead, cluster.events("failed_over"))


async def _settled(ledger: Ledger, mail_ids: set[str]) -> set[str]:
    """Return those that no worker will touch again: so a second copy would show by now."""
    ids = sorted(mail_ids)[:_AT_ONCE]
    entries = await asyncio.gather(*(ledger.find(MailId(mail_id)) for mail_id in ids))
    return {mail_id for mail_id, entry in zip(ids, entries, strict=True) if entry and entry.state in _SETTLED}
