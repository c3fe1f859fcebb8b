"""Which shard a mail belongs to.

The mapping is a wire contract: producers in any language must agree on it, so
it uses neither `hash()`, which is salted per process, nor anything that a
Python upgrade may change. Jump consistent hash (Lamping & Veach, 2014) moves
only the mails that a new shard takes. Test vectors: `docs/shard-vectors.json`.
"""

from hashlib import sha256
from typing import Final

from postman.core.ids import MailId
from postman.errors import ConfigError

__all__ = ["shard_for"]

_MULTIPLIER: Final = 2862933555777941757
_MASK: Final = (1 << 64) - 1


def shard_for(mail_id: MailId | str, count: int) -> int:
    """Return the index of *mail_id*'s shard, from 0 up to *count* exclusive."""
    if count < 1:
        raise ConfigError(f"shard count must be at least 1, not {count}")
    key = int.from_bytes(sha256(mail_id.encode()).digest()[:8], "big")
    shard, after = -1, 0
    while after < count:
        shard = after
        key = (key * _MULTIPLIER + 1) & _MASK
        after = ((shard + 1) << 31) // ((key >> 33) + 1)
    return shard
