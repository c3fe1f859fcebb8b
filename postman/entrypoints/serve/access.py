"""Who may publish and ask for mails. The providers' events prove themselves and need no key.

Fail closed: without a key only this machine may, unless whoever starts the
server says that something in front of it checks the callers. A browser on this
machine may be led here by a foreign page, so without a key requests must come
from this machine and name it in `Host` (which defeats DNS rebinding), and not
have come through a proxy that says so.
"""

import hmac
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from postman.entrypoints.serve.answers import Refusal
from postman.errors import ConfigError

__all__ = ["Access", "is_loopback", "read_key"]

_SHORTEST_KEY: Final = 16
_SCHEME: Final = "bearer "
_FORWARDED: Final = ("Forwarded", "X-Forwarded-For", "Via")


@dataclass(frozen=True, slots=True)
class Access:
    """The rule. *keys* are digests (`read_key`), of which one must fit; several while a key is changed."""

    keys: Sequence[bytes] = field(default=(), repr=False)
    lets_all_in: bool = False
    """Whether all may who reach this server; with keys it has no meaning."""

    def check(self, request: web.Request) -> None:
        """Raise `Refusal` where whoever asks may not."""
        if self.keys:
            self._check_key(request.headers.getall("Authorization", []))
        elif not self.lets_all_in and not _is_local(request):
            raise Refusal(403, "without an API key only this machine may publish and ask")

    def _check_key(self, given: Sequence[str]) -> None:
        """Compare in constant time; what is missing and what is wrong get the same answer."""
        text = given[0] if len(given) == 1 else ""
        key = text[len(_SCHEME) :] if text.lower().startswith(_SCHEME) else ""
        digest = sha256(key.strip().encode("utf-8", "replace")).digest()
        if not any(hmac.compare_digest(digest, known) for known in self.keys):
            raise Refusal(401, "the API key is missing or wrong")


def read_key(reference: str, environ: Mapping[str, str]) -> bytes:
    """Return the digest of the key that *reference* (`env:NAME`, `file:PATH`) names; `ConfigError` never shows it."""
    kind, _, rest = reference.partition(":")
    if kind not in ("env", "file") or not rest:
        raise ConfigError("--api-key: must be a reference, env:NAME or file:PATH, never the key itself")
    key = (environ.get(rest, "") if kind == "env" else _file(rest)).strip()
    if len(key) < _SHORTEST_KEY or not key.isascii() or not key.isprintable():
        raise ConfigError(f"--api-key: what {kind}: refers to must be at least {_SHORTEST_KEY} ASCII characters")
    return sha256(key.encode()).digest()


def is_loopback(host: str) -> bool:
    """Whether *host* is this machine as it calls itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_local(request: web.Request) -> bool:
    is_forwarded = any(name in request.headers for name in _FORWARDED)
    return is_loopback(request.remote or "") and is_loopback(_named(request.host)) and not is_forwarded


def _named(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _file(name: str) -> str:
    try:
        return Path(name).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--api-key: cannot read the file {name}: {type(error).__name__}") from None
