"""The fields of the providers' document, as `postman/config/providers.py` has them; what they mean is said here."""

from collections.abc import Mapping
from typing import Any, Final

from postman.config.providers import _Table
from tests.docs.configuration import kind

__all__ = ["MEANINGS", "fields"]

MEANINGS: Final[Mapping[str, str]] = {
    "name": "Unique. It stays with its account: mails in doubt are asked for by it. "
    "Letters, digits, `.`, `_` and `-`, at most 63.",
    "kind": "Which adapter: `sendgrid`, `mailgun`, or [one that is installed](extending.md).",
    "api_key": "The key that mails are sent with, as a [reference](secrets.md): `env:NAME`, `file:PATH`, "
    "`secret:NAME`, never the key itself.",
    "weight": "Its share as the home of workers, against those of the others; 0: only when others fail.",
    "enabled": "Whether it gets mails. A disabled one finishes what it has, and is asked about doubts.",
    "base_url": "Where its API is; left out: the adapter's own. https, except on this machine.",
    "timeout": "Seconds for a whole request.",
    "rate": "Mails per second, for each worker process; left out: no limit.",
    "concurrency": "Mails in flight, for each worker process; left out: what the worker finds out.",
    "breaker": "Who decides over its breaker. `auto`: it does; `open`: a person, and it gets no mail; "
    "`closed`: a person, and it gets its mails whatever becomes of them.",
    "look_up_after": 'Seconds after which its "not found" is evidence; 0: it cannot be asked; left out: the adapter\'s '
    "own (SendGrid 0, Mailgun 1800).",
}


def fields() -> str:
    """Return the table."""
    rows = [f"| `{name}` | {kind(_Table, name)} | {_default(name)} | {meaning} |" for name, meaning in MEANINGS.items()]
    return "\n".join(["| field | is | default | meaning |\n|---|---|---|---|", *rows])


def _default(name: str) -> str:
    field: Any = _Table.model_fields[name]
    if field.is_required():
        return "needed"
    if field.default is None or field.default == "":
        return ""
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"
