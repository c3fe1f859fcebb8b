#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.11"
# dependencies = ["google-cloud-pubsub>=2.44"]
# ///
"""Publishes mails for postman with Google's own client, without postman: `python publish.py < mails.jsonl`.

Reads one mail a line, and prints {"id", "shard"} of each that Pub/Sub has. Where some may not have been published it
names their ids, and ends with 1: run it again with the same mails. Those that Pub/Sub had already are published twice
then, and sent once, for their ids are the same.
"""

import json
import os
import sys
from concurrent.futures import Future
from hashlib import sha256
from typing import Any

from google.api_core.exceptions import GoogleAPIError
from google.cloud.pubsub_v1 import PublisherClient

PATIENCE = 60.0
"""Seconds; meanwhile the client tries again by itself."""


def jump(text: str, count: int) -> int:
    """Return one of *count* shards, always the same one for *text*."""
    key = int.from_bytes(sha256(text.encode()).digest()[:8], "big")
    shard = after = 0
    while after < count:
        shard = after
        key = (key * 2862933555777941757 + 1) % 2**64
        after = (shard + 1) * 2**31 // ((key >> 33) + 1)
    return shard


def tries(text: str, first: int, count: int) -> list[int]:
    return [jump(f"{text}\0{number}", count) for number in range(first, first + 64)]


def following(shard: int, count: int) -> list[int]:
    return [(shard + step) % count for step in range(1, count)]


def hand_of(key: str, count: int, hand: int) -> list[int]:
    """Return the shards to which the mails of *key* go; with a *hand* of 0 that is all of them."""
    if not key or not 0 < hand < count:
        return list(range(count))
    dealt = tries(key, 0, count)
    return list(dict.fromkeys(dealt + following(dealt[0], count)))[:hand]


def place(mail_id: str, count: int, key: str = "", hand: int = 0, closed: tuple[int, ...] = ()) -> int:
    """Return the shard of a mail, as docs/shard-mapping.md has it; `StopIteration` where all are *closed*."""
    members = hand_of(key, count, hand)
    chosen = jump(mail_id, len(members))
    others = members[chosen + 1 :] + members[:chosen] if len(members) < count else []
    elsewhere = tries(mail_id, 1, count) + following(members[chosen], count) if closed else []
    return next(shard for shard in [members[chosen], *others, *elsewhere] if shard not in closed)


class Postman:
    """Publishes to the shards' topics; make one for the whole process."""

    def __init__(self, project: str, *, prefix: str = "postman", count: int = 8, hand: int = 0) -> None:
        self._client = PublisherClient()
        self._topics = [self._client.topic_path(project, f"{prefix}-mail-{shard}") for shard in range(count)]
        self._hand = hand

    def publish(self, mail: dict[str, Any]) -> "tuple[int, Future[str]]":
        """Return the mail's shard, and a future: Pub/Sub has the mail when that is done, and not before."""
        key = mail.get("tenant") or ""
        shard = place(mail["id"], len(self._topics), key, self._hand)
        attributes = {"mail_id": mail["id"], "schema": "1"} | ({"shard_key": key} if key else {})
        data = json.dumps(mail, ensure_ascii=False).encode()
        return shard, self._client.publish(self._topics[shard], data, **attributes)


def main() -> int:
    """Return the exit status."""
    postman = Postman(
        os.environ["GOOGLE_CLOUD_PROJECT"],
        prefix=os.environ.get("POSTMAN_PREFIX", "postman"),
        count=int(os.environ.get("POSTMAN_SHARDS", "8")),
        hand=int(os.environ.get("POSTMAN_SHARD_HAND", "0")),
    )
    mails = [json.loads(line) for line in sys.stdin]
    under_way = [(mail["id"], *postman.publish(mail)) for mail in mails]
    status = 0
    for mail_id, shard, future in under_way:
        try:
            future.result(PATIENCE)
        except (GoogleAPIError, TimeoutError) as error:
            _say(sys.stderr, id=mail_id, not_published=type(error).__name__)
            status = 1
        else:
            _say(sys.stdout, id=mail_id, shard=shard)
    return status


def _say(stream: Any, **fields: object) -> None:
    stream.write(json.dumps(fields) + "\n")


if __name__ == "__main__":
    sys.exit(main())
