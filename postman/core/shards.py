"""Which shard a mail goes into.

The mapping is a wire contract: producers in any language must agree on it, so
it uses neither `hash()`, which is salted per process, nor anything that a
Python upgrade may change. Jump consistent hash (Lamping & Veach, 2014) moves
only the mails that a new shard takes. `docs/shard-mapping.md` says it for other
languages, with test vectors in `docs/shard-vectors.json`.

Neither ids nor keys have U+0000. So the texts that are hashed for two ids, or
for two keys, are never the same, whatever number follows the U+0000.
"""

from collections.abc import Collection, Iterator
from hashlib import sha256
from struct import Struct
from typing import Final

from postman.core.ids import MailId
from postman.errors import ConfigError

__all__ = ["hand_of", "place", "shard_for"]

_FIRST_8_BYTES: Final = Struct(">Q")
_MULTIPLIER: Final = 2862933555777941757
_MASK: Final = (1 << 64) - 1
_TRIES: Final = 64


def shard_for(mail_id: MailId | str, count: int) -> int:
    """Return the index of *mail_id*'s shard, from 0 up to *count* exclusive."""
    if count < 1:
        raise ConfigError(f"shard count must be at least 1, not {count}")
    return _jump(mail_id, count)


def place(mail_id: MailId | str, count: int, *, key: str = "", hand: int = 0, closed: Collection[int] = ()) -> int:
    """Return the shard into which a mail is put, from 0 up to *count* exclusive; never one of *closed*.

    The id chooses among all shards; with a *key* (a tenant, a campaign) and a *hand* among `hand_of` it. A mail whose
    choice is closed goes into another shard of the hand that is open, or else into any; no other mail moves. Numbers
    in *closed* that are no shard's change nothing. Raises `ConfigError` where all shards are closed.
    """
    if not hand and not closed:
        return shard_for(mail_id, count)
    for shard in _choices(mail_id, count, hand_of(key, count, hand)):
        if shard not in closed:
            return shard
    raise ConfigError(f"all {count} shards are closed")


def hand_of(key: str, count: int, hand: int) -> tuple[int, ...]:
    """Return the shards among which the ids of *key*'s mails choose: *hand* different ones, in the key's own order.

    All of them, in ascending order, without a key or a hand, and where there are no more than *hand*.
    """
    if count < 1:
        raise ConfigError(f"shard count must be at least 1, not {count}")
    if hand < 0:
        raise ConfigError(f"a hand has at least 0 shards, not {hand}")
    if not key or not 0 < hand < count:
        return tuple(range(count))
    members: dict[int, None] = {}
    for shard in _dealt(key, count):
        members[shard] = None
        if len(members) == hand:
            break
    return tuple(members)


def _dealt(key: str, count: int) -> Iterator[int]:
    """Yield the shards for a hand, some of them again and again; every shard is among them."""
    yield from (_numbered(key, number, count) for number in range(_TRIES))
    yield from _following(_numbered(key, 0, count), count)


def _choices(mail_id: MailId | str, count: int, members: tuple[int, ...]) -> Iterator[int]:
    """Yield where a mail may go, best first; every shard is among them."""
    chosen = _jump(mail_id, len(members))
    yield members[chosen]
    if len(members) < count:
        yield from members[chosen + 1 :] + members[:chosen]
    yield from (_numbered(mail_id, number, count) for number in range(1, _TRIES + 1))
    yield from _following(members[chosen], count)


def _following(shard: int, count: int) -> Iterator[int]:
    return ((shard + step) % count for step in range(1, count))


def _numbered(text: str, number: int, count: int) -> int:
    return _jump(f"{text}\0{number}", count)


def _jump(text: str, count: int) -> int:
    (key,) = _FIRST_8_BYTES.unpack_from(sha256(text.encode()).digest())
    shard, after = -1, 0
    while after < count:
        shard = after
        key = (key * _MULTIPLIER + 1) & _MASK
        after = ((shard + 1) << 31) // ((key >> 33) + 1)
    return shard
