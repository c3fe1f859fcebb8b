"""The worker to which mails are pushed, joined from its parts, and who may push to it."""

import ipaddress
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import structlog

from postman.adapters.clock import SystemClock
from postman.config import Settings
from postman.errors import ConfigError
from postman.ports.clock import Clock
from postman.ports.tokens import Standing, TokenJudge
from postman.runtime.pushworker import PushSettings, PushWorker, check_timeout, limits_for
from postman.wiring.equipment import claim_ids, open_equipment

__all__ = ["PUSH_VARIABLES", "Pushers", "open_push_worker", "open_token_judge"]

_LOG = structlog.get_logger("postman.wiring")

_Closing = Callable[[], Coroutine[Any, Any, None]]

_AUDIENCE: Final = "POSTMAN_PUSH_AUDIENCE"
_ACCOUNT: Final = "POSTMAN_PUSH_ACCOUNT"
_ISSUER: Final = "POSTMAN_PUSH_ISSUER"
_KEYS: Final = "POSTMAN_PUSH_KEYS"
PUSH_VARIABLES: Final = (_AUDIENCE, _ACCOUNT, _ISSUER, _KEYS)

_NOBODY: Final = "none"
_EMULATOR: Final = "PUBSUB_EMULATOR_HOST"


@dataclass(frozen=True, slots=True)
class Pushers:
    """Whose pushes are taken. Without an *account* all are, which is for the emulator alone."""

    audience: str = ""
    account: str = ""
    issuer: str = ""
    """Whose tokens are good; empty: Google's."""
    keys: str = ""
    """The address of the issuer's keys."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Pushers":
        """Read who may push; `ConfigError` names the variable that is wrong, or missing: by default nobody may."""
        audience, account, issuer, keys = (environ.get(name, "").strip() for name in PUSH_VARIABLES)
        if account == _NOBODY:
            return cls._everybody(environ)
        if not account:
            raise ConfigError(f"{_ACCOUNT}: is not set; it is the service account whose token Pub/Sub pushes with")
        if not audience:
            raise ConfigError(f"{_AUDIENCE}: is not set; it is the audience of the push subscription's token")
        if bool(issuer) != bool(keys):
            raise ConfigError(f"{_KEYS if issuer else _ISSUER}: is not set; it belongs to the other of the two")
        if keys and not _is_safe(keys):
            raise ConfigError(f"{_KEYS}: must be an https URL: whoever can change what it answers can forge tokens")
        return cls(audience, account, issuer, keys)

    @classmethod
    def _everybody(cls, environ: Mapping[str, str]) -> "Pushers":
        if not environ.get(_EMULATOR):
            raise ConfigError(f"{_ACCOUNT}: none lets everybody in, so it is for the emulator alone ({_EMULATOR})")
        return cls()


def open_token_judge(pushers: Pushers, *, clock: Clock | None = None) -> TokenJudge:
    """Return who tells whether a push is our subscription's; no connection is made yet."""
    if not pushers.account:
        _LOG.warning("pushes_not_verified", reason=f"{_ACCOUNT} is none: whoever reaches this process may push mails")
        return _Everybody()
    from postman.adapters.oidc import GOOGLE, GOOGLE_KEYS, Expected, OidcTokens, SigningKeys

    clock = clock or SystemClock()
    expected = Expected(pushers.audience, pushers.account, pushers.issuer or GOOGLE)
    return OidcTokens(expected, keys=SigningKeys(pushers.keys or GOOGLE_KEYS, clock=clock), clock=clock)


async def open_push_worker(settings: Settings, environ: Mapping[str, str]) -> tuple[PushWorker, _Closing]:
    """Return a worker to push to, and what closes all that it uses.

    Raises as `open_worker`, and `ConfigError` where the ack deadline is too short for the providers' time-outs.
    """
    push_settings = _push_settings(settings)
    equipment = await open_equipment(
        settings,
        environ,
        lease=lambda failover: limits_for(failover, push_settings.ack_deadline).lease,
        accept=lambda entries: check_timeout(max(each.spec.timeout for each in entries), push_settings.ack_deadline),
    )
    worker = PushWorker(
        shards=equipment.shards,
        ledger=equipment.ledger,
        failover=equipment.failover,
        clock=equipment.clock,
        settings=push_settings,
        new_claim_id=claim_ids(),
        objection=equipment.suppressed.objection,
        companions=[equipment.suppressed, equipment.providing],
        taster=equipment.taster,
        following=equipment.following,
    )
    return worker, equipment.aclose


def _push_settings(settings: Settings) -> PushSettings:
    return PushSettings(
        ack_deadline=settings.ack_deadline,
        concurrency=settings.concurrency,
        grace=settings.grace,
        doubt_window=settings.doubt_window,
        memory=settings.memory,
    )


class _Everybody:
    """A `TokenJudge` who asks nobody for a token."""

    async def judge(self, token: str) -> Standing:  # noqa: ARG002 — the port's
        return Standing.PROVEN

    async def aclose(self) -> None:
        """Nothing to let go of."""


def _is_safe(url: str) -> bool:
    """Whether what *url* answers is its owner's word: by https, or from this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host)))
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
