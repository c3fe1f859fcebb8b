"""How a sandbox is set up, and what may be changed while it runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum

__all__ = ["ProviderName", "SandboxSettings", "SettingError", "Tunables", "changed"]

_LOOPBACK = "127.0.0.1"


class ProviderName(StrEnum):
    """The providers that are imitated."""

    SENDGRID = "sendgrid"
    MAILGUN = "mailgun"


class SettingError(ValueError):
    """A setting changed over HTTP is wrong; *setting* names it."""

    def __init__(self, setting: str, problem: str) -> None:
        super().__init__(f"{setting}: {problem}")
        self.setting = setting
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Tunables:
    """What may be changed while running, for one provider."""

    lookup_delay: float = 0.0
    """Seconds between acceptance and the first look-up that sees the mail."""
    webhook_url: str | None = None
    """Where signed events are posted; None for nowhere."""
    event_delay: float = 0.0
    """Seconds between acceptance and the first attempt to post its events."""


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """Ports are 0 for any free one. Keys are checked, never shown."""

    host: str = _LOOPBACK
    port: int = 0
    sendgrid_port: int = 0
    mailgun_port: int = 0
    allow_remote: bool = False
    """Whether hosts other than this machine may use the page and the control interface."""
    sendgrid_key: str = field(default="SG.sandbox", repr=False)
    mailgun_key: str = field(default="key-sandbox", repr=False)
    mailgun_signing_key: str = field(default="signing-key-sandbox", repr=False)
    mailgun_domains: tuple[str, ...] = ("mg.example.org",)
    """Domains that may send at Mailgun; ``*`` stands for any."""
    sendgrid: Tunables = Tunables()
    mailgun: Tunables = Tunables()
    keep: int = 10_000
    """How many of the newest mails are kept whole; of older ones bodies and attachments are dropped."""
    seed: int = 0
    """Of the dice that faults with a rate below 1 are thrown with."""


_NUMBERS = ("lookup_delay", "event_delay")


def changed(tunables: Tunables, document: Mapping[str, object]) -> Tunables:
    """Return *tunables* with what *document* names changed; raise `SettingError` for what is wrong in it."""
    known = {each.name for each in fields(Tunables)}
    for name, value in document.items():
        if name not in known:
            raise SettingError(name, "unknown setting")
        _check(name, value)
    return replace(tunables, **document)  # type: ignore[arg-type]  # each value was checked above


def _check(name: str, value: object) -> None:
    if name in _NUMBERS:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 86_400:
            raise SettingError(name, "must be seconds from 0 to 86400")
    elif value is not None and not (isinstance(value, str) and value.startswith(("http://", "https://"))):
        raise SettingError(name, "must be an http address or null")
