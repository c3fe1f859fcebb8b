"""A cluster on the emulators for the examples: one worker, a sandbox, and a subscription of our own to each shard."""

import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import grpc
import orjson
from google.pubsub_v1 import PublisherClient, PubsubMessage, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from postman.core.message import Message
from postman.core.wire import decode_message, message_for, parse
from postman.testing.waiting import wait_until_blocking
from tests.contract.cli.commands import CLEAN, Postman, Ran, SandboxProcess, running_sandbox
from tests.contract.cli.forks import Forks

__all__ = ["SHARDS", "Scene", "as_lines", "mails_of", "running_scene"]

SHARDS: Final = 8


class Scene:
    """What a test does with the cluster."""

    def __init__(self, postman: Postman, sandbox: SandboxProcess, taps: "_Taps") -> None:
        self.postman = postman
        self.sandbox = sandbox
        self._taps = taps

    @property
    def folder(self) -> Path:
        return self.postman.folder

    def run(
        self, *command: str, stdin: bytes = b"", folder: Path | None = None, environ: Mapping[str, str] | None = None
    ) -> Ran:
        """Run an example's command to its end, with the cluster's environment and what *environ* adds."""
        ended = subprocess.run(
            command,
            cwd=folder or self.folder,
            env={**self.postman.environ, **(environ or {})},
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return Ran(ended.returncode, ended.stdout.decode(), ended.stderr.decode())

    def publish(self, shard: int, data: bytes, attributes: Mapping[str, str]) -> None:
        """Put anything into a shard, past every producer."""
        self._taps.publish(shard, data, attributes)

    def arrived(self, mails: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
        """Return, once all of *mails* have come, the shards in which each lies, one for each copy.

        Every copy must be the mail as it was given, in a message with the attributes of postman's own producers.
        """
        wanted = {str(mail["id"]): parse(orjson.dumps(mail)) for mail in mails}
        wait_until_blocking(lambda: wanted.keys() <= self._taps.look().keys(), within=10.0, what=f"{len(wanted)} mails")
        for mail_id, mail in wanted.items():
            for _, message in self._taps.found[mail_id]:
                assert decode_message(message) == mail
                assert message.attributes == message_for(mail).attributes
        return {mail_id: [shard for shard, _ in self._taps.found[mail_id]] for mail_id in wanted}


class _Taps:
    """A subscription to each shard's topic besides the worker's."""

    def __init__(self, channel: grpc.Channel, project: str, prefix: str) -> None:
        self._publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        self._subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        self._topics = [f"projects/{project}/topics/{prefix}-mail-{shard}" for shard in range(SHARDS)]
        self._taps = [f"projects/{project}/subscriptions/{prefix}-tap-{shard}" for shard in range(SHARDS)]
        self.found: defaultdict[str, list[tuple[int, Message]]] = defaultdict(list)

    def open(self) -> Self:
        for topic, tap in zip(self._topics, self._taps, strict=True):
            self._subscriber.create_subscription(name=tap, topic=topic)
        return self

    def publish(self, shard: int, data: bytes, attributes: Mapping[str, str]) -> None:
        message = PubsubMessage(data=data, attributes=dict(attributes))
        self._publisher.publish(topic=self._topics[shard], messages=[message])

    def look(self) -> Mapping[str, Sequence[tuple[int, Message]]]:
        """Return all that has come so far, by the attribute that names the mail."""
        for shard, tap in enumerate(self._taps):
            for message in self._pulled(tap):
                self.found[message.attributes.get("mail_id", "")].append((shard, message))
        return self.found

    def _pulled(self, tap: str) -> list[Message]:
        received = self._subscriber.pull(
            request={"subscription": tap, "max_messages": 1_000, "return_immediately": True}
        ).received_messages
        if received:
            self._subscriber.acknowledge(subscription=tap, ack_ids=[each.ack_id for each in received])
        return [Message(each.message.data, dict(each.message.attributes)) for each in received]


@contextmanager
def running_scene(folder: Path, *, project: str, prefix: str, emulators: Mapping[str, str]) -> Iterator[Scene]:
    """Make the queues, and run a worker before a sandbox."""
    settings = {
        **emulators,
        "GOOGLE_CLOUD_PROJECT": project,
        "METADATA_SERVER_DETECTION": "none",  # Google's client for Node looks for it even on an emulator
        "POSTMAN_QUEUE": "pubsub:",
        "POSTMAN_LEDGER": "firestore:",
        "POSTMAN_PREFIX": prefix,
        "POSTMAN_SHARDS": str(SHARDS),
    }
    with (
        Forks(CLEAN) as forks,
        running_sandbox(folder) as sandbox,
        grpc.insecure_channel(emulators["PUBSUB_EMULATOR_HOST"]) as channel,
    ):
        postman = Postman(folder, forks, **settings)
        postman.use(sandbox)
        wait_until_blocking(lambda: postman("init").status == 0, within=30.0, what="the queues")
        with postman.working():
            yield Scene(postman, sandbox, _Taps(channel, project, prefix).open())
        accepted = sandbox.accepted()
        assert len(accepted) == len(set(accepted)), "a mail was sent twice"


def mails_of(kind: str, count: int) -> list[dict[str, Any]]:
    """Return mails with ids of their own."""
    return [
        {
            "id": f"{kind}-{number}",
            "from": {"email": "shop@mg.example.org", "name": "Läden & Söhne"},
            "to": [{"email": f"customer{number}@example.org"}],
            "subject": f"Grüße \N{E-MAIL SYMBOL} {number}",
            "text": "Thank you.\n",
        }
        for number in range(count)
    ]


def as_lines(mails: Sequence[Mapping[str, Any]]) -> bytes:
    """Return *mails* as JSON lines."""
    return b"".join(orjson.dumps(mail) + b"\n" for mail in mails)
