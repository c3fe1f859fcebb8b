"""The shard of a mail is a contract with producers in other languages."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from postman.core.ids import MailId
from postman.core.shards import shard_for
from postman.errors import ConfigError

VECTORS: dict[str, Any] = orjson.loads((Path(__file__).parents[3] / "docs" / "shard-vectors.json").read_bytes())

JUMP = [
    (1, 1, 0),
    (42, 57, 43),
    (256, 1024, 520),
    (3735883980, 1, 0),
    (3735883980, 666, 361),
    (16045690984833335023, 255, 237),
]
"""Reference values of the jump hash, as published with ClickHouse: key, buckets, bucket."""


def jump(key: int, count: int) -> int:
    """The paper's own form, with doubles: shares nothing with the code that it judges."""
    bucket, after = -1, 0
    while after < count:
        bucket = after
        key = (key * 2862933555777941757 + 1) % 2**64
        after = int((bucket + 1) * (float(1 << 31) / float((key >> 33) + 1)))
    return bucket


@pytest.mark.parametrize(("key", "count", "bucket"), JUMP)
def test_the_reference_agrees_with_published_values(key: int, count: int, bucket: int) -> None:
    assert jump(key, count) == bucket


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["id"] or "empty")
def test_published_vectors_hold(vector: dict[str, Any]) -> None:
    for count, shard in vector["shards"].items():
        assert shard_for(vector["id"], int(count)) == shard == jump(int(vector["key"], 16), int(count))


def test_there_are_vectors_for_every_count() -> None:
    assert len(VECTORS["vectors"]) == 8
    assert all(list(vector["shards"]) == ["4", "8", "12", "16", "32", "64", "1000"] for vector in VECTORS["vectors"])


def test_growing_moves_mails_only_to_new_shards() -> None:
    ids = [MailId(f"mail-{number}") for number in range(500)]

    assert all(shard_for(mail_id, 12) in (shard_for(mail_id, 8), 8, 9, 10, 11) for mail_id in ids)


def test_no_shards_are_wrong_settings() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        shard_for(MailId("a"), 0)
