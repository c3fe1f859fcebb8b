"""How pages say numbers, times, addresses and states."""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

from postman.entrypoints.backlog import duration

__all__ = ["FILTERS", "Tone", "ago", "amount", "mail_url", "masked", "moment", "plural", "time_of_day", "tone_of"]

Tone = str
"""`good`, `note`, `warn`, `bad` or `quiet`: a class of the style sheet, which has a sign for each besides a colour."""

_DOTS: Final = "\N{BULLET}" * 3
_THIN: Final = "\N{NARROW NO-BREAK SPACE}"
_TONES: Final[Mapping[str, Tone]] = MappingProxyType(
    {
        "sent": "good",
        "sending": "note",
        "free": "quiet",
        "in_doubt": "warn",
        "refused": "bad",
        "accepted": "good",
        "delivered": "good",
        "deferred": "warn",
        "bounced": "bad",
        "dropped": "bad",
        "complained": "bad",
        "closed": "good",
        "half_open": "warn",
        "paused": "warn",
        "held_open": "warn",
        "held_closed": "warn",
        "open": "bad",
        "ok": "good",
        "slow": "bad",
        "stalled": "bad",
        "idle_with_backlog": "warn",
        "unknown": "quiet",
        "leaving": "quiet",
    }
)


def tone_of(state: str) -> Tone:
    """Return how a state is to be taken."""
    return _TONES.get(state.replace(" ", "_"), "quiet")


def moment(seconds: float) -> str:
    """Return a moment since 1970 for reading, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def time_of_day(seconds: float) -> str:
    """Return hours and minutes, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M")


def machine_moment(seconds: float) -> str:
    """Return a moment as the attribute `datetime` has it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ago(seconds: float, now: float) -> str:
    """Return how long before *now* it was: "now", "12 s ago"."""
    age = now - seconds
    return "now" if age < 1 else f"{duration(age)} ago"


def amount(number: float) -> str:
    """Return a number with its thousands apart; one that is small keeps one digit after the point."""
    if isinstance(number, float) and not number.is_integer() and number < 100:
        return f"{number:.1f}"
    return f"{number:,.0f}".replace(",", _THIN)


def plural(number: float, noun: str) -> str:
    """Return "1 mail", "7 mails"."""
    return f"{amount(number)} {noun}{'' if number == 1 else 's'}"


def spoken(state: str) -> str:
    """Return the word of a state as people say it."""
    return state.replace("_", " ")


def masked(address: str) -> str:
    """Return an address of which one sees whose it may be, and not whose it is."""
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}{_DOTS}@{domain}" if at else _DOTS


def mail_url(mail_id: str) -> str:
    """Return the address of a mail's page; a browser would take some ids for steps up."""
    quoted = quote(mail_id, safe="")
    return f"/mails/?id={quoted}" if mail_id in (".", "..") else f"/mails/{quoted}"


FILTERS: Final = MappingProxyType(
    {
        "ago": ago,
        "amount": amount,
        "duration": duration,
        "mail_url": mail_url,
        "machine_moment": machine_moment,
        "masked": masked,
        "moment": moment,
        "spoken": spoken,
        "time_of_day": time_of_day,
        "tone": tone_of,
    }
)
"""For the templates."""
