"""Which posts were seen, by what makes each unique.

Where a provider's signature does not cover the body (Mailgun), it could be put
on another one. So the first body that came with a nonce is its only one: the
same again is a repetition, another is a forgery. A post that failed here may
come again in any form, since providers do not promise that a repetition is the
same to the byte.

*Limits.* It is this process's memory: another process, or the next one, knows
nothing of it. The oldest are forgotten where there is no room.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from postman.errors import ForgedEventError

__all__ = ["Nonces"]

_KEPT_FOR: Final = 9 * 3_600.0
"""Seconds: longer than any source takes a nonce for current."""
_MOST: Final = 100_000
_SHORT: Final = 16


class Nonces:
    """*kept_for* is in seconds; *most* of them take about 30 MB."""

    def __init__(self, *, kept_for: float = _KEPT_FOR, most: int = _MOST) -> None:
        self._kept_for = kept_for
        self._most = most
        self._seen: dict[bytes, _Seen] = {}
        """In the order in which they came."""

    def __len__(self) -> int:
        return len(self._seen)

    @contextmanager
    def use(self, provider: str, nonce: str, body: bytes, *, now: float) -> Iterator[bool]:
        """Keep *nonce* for *body* alone, for good if the block ends well; give whether that happened before.

        Raises `ForgedEventError` where it came with another body. An empty nonce is none. *now* never goes back.
        """
        if not nonce:
            yield False
            return
        key, digest = _short(f"{provider}\0{nonce}".encode()), _short(body)
        if key not in self._seen:
            self._make_room(now)
        seen = self._seen.setdefault(key, _Seen(digest, now))
        if seen.body != digest:
            raise ForgedEventError(f"{provider}: a signature that was seen before, with another body")
        seen.users += 1
        try:
            yield seen.is_done
            seen.is_done = True
        finally:
            seen.users -= 1
            if not seen.is_done and not seen.users:
                self._seen.pop(key, None)

    def _make_room(self, now: float) -> None:
        while self._seen:
            oldest = next(iter(self._seen))
            if len(self._seen) < self._most and self._seen[oldest].since + self._kept_for > now:
                return
            del self._seen[oldest]


@dataclass(slots=True)
class _Seen:
    body: bytes
    since: float
    users: int = 0
    is_done: bool = False


def _short(data: bytes) -> bytes:
    return sha256(data).digest()[:_SHORT]
