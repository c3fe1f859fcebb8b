"""The shard of a mail is a contract with producers in other languages."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from postman.core.ids import MailId, is_mail_id
from postman.core.mail import Mail
from postman.core.shards import hand_of, place, shard_for
from postman.errors import ConfigError, InvalidMailError

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

COUNTS = st.integers(1, 40)
HANDS = st.integers(0, 45)
IDS = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=20).filter(is_mail_id)
KEYS = st.just("") | IDS
CLOSED = st.frozensets(st.integers(0, 45))


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


@pytest.mark.parametrize("vector", VECTORS["places"], ids=lambda vector: f"{vector['mail_id'][:12]}-{vector['count']}")
def test_published_places_hold(vector: dict[str, Any]) -> None:
    choice = {name: vector[name] for name in ("key", "hand", "closed")}

    assert is_mail_id(vector["mail_id"])
    assert place(vector["mail_id"], vector["count"], **choice) == vector["shard"]


@given(IDS, COUNTS, KEYS)
def test_without_a_hand_or_a_key_the_id_alone_chooses(mail_id: str, count: int, key: str) -> None:
    assert place(mail_id, count) == place(mail_id, count, key=key) == shard_for(mail_id, count)
    assert place(mail_id, count, hand=3) == shard_for(mail_id, count)


@given(COUNTS, KEYS, HANDS)
def test_a_hand_has_as_many_different_shards_as_it_should(count: int, key: str, hand: int) -> None:
    members = hand_of(key, count, hand)

    assert len(members) == len(set(members)) == (min(hand, count) if key and hand else count)
    assert set(members) <= set(range(count))


@pytest.mark.parametrize("count", [2, 64, 65, 1_024])
def test_a_hand_of_all_shards_but_one_can_be_dealt(count: int) -> None:
    """Even where it needs more than the 64 tries there are."""
    members = hand_of("acme", count, count - 1)

    assert len(set(members)) == len(members) == count - 1


def test_a_hand_of_all_shards_is_none() -> None:
    assert (
        hand_of("acme", 5, 5) == hand_of("acme", 5, 9) == hand_of("", 5, 2) == hand_of("acme", 5, 0) == (0, 1, 2, 3, 4)
    )


@given(IDS, COUNTS, KEYS, HANDS, CLOSED)
def test_a_mail_goes_into_an_open_shard_of_its_hand_while_there_is_one(
    mail_id: str, count: int, key: str, hand: int, closed: frozenset[int]
) -> None:
    open_shards = set(range(count)) - closed
    assume(open_shards)

    assert place(mail_id, count, key=key, hand=hand, closed=closed) in (
        open_shards & set(hand_of(key, count, hand)) or open_shards
    )


@given(IDS, COUNTS, KEYS, HANDS, CLOSED)
def test_closing_shards_moves_no_mail_of_the_others(
    mail_id: str, count: int, key: str, hand: int, closed: frozenset[int]
) -> None:
    before = place(mail_id, count, key=key, hand=hand)

    assert place(mail_id, count, key=key, hand=hand, closed=closed - {before}) == before


def test_a_closed_members_mails_go_to_the_next_of_the_hand_and_round_to_its_first() -> None:
    members = hand_of("acme", 16, 3)
    ids = [f"mail-{number}" for number in range(100)]
    moved = {
        place(mail_id, 16, key="acme", hand=3, closed=[shard])
        for shard in members
        for mail_id in ids
        if place(mail_id, 16, key="acme", hand=3) == shard == members[2]
    }

    assert moved == {members[0]}


def test_the_only_open_shard_of_many_takes_every_mail() -> None:
    closed = set(range(1_000)) - {500}

    assert {place(f"mail-{number}", 1_000, closed=closed) for number in range(30)} == {500}


@pytest.mark.parametrize("hand", [0, 2])
def test_there_is_no_place_where_all_shards_are_closed(hand: int) -> None:
    with pytest.raises(ConfigError, match="all 4 shards are closed"):
        place("a", 4, key="acme", hand=hand, closed=range(7))


@pytest.mark.parametrize(("count", "hand"), [(0, 0), (0, 2), (-1, 0), (4, -1)])
def test_a_count_or_a_hand_out_of_range_is_wrong_settings(count: int, hand: int) -> None:
    with pytest.raises(ConfigError, match="at least"):
        place("a", count, key="acme", hand=hand)
    with pytest.raises(ConfigError, match="at least"):
        hand_of("acme", count, hand)


def test_neither_an_id_nor_a_tenant_may_hold_what_divides_the_hashed_texts() -> None:
    """Else the second try of one mail could be the first one of another."""
    mail: dict[str, Any] = {
        "from": {"email": "shop@example.org"},
        "to": [{"email": "ann@example.org"}],
        "text": "Hello",
    }
    assert Mail.model_validate({**mail, "id": "a1", "tenant": "a1"}).tenant == "a1"

    for field in ("id", "tenant"):
        with pytest.raises(InvalidMailError, match=field):
            Mail.model_validate({**mail, field: "a\0" + "1"})
