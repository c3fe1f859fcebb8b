"""Postman sends e-mail reliably through several providers.

The public names are loaded when they are first asked for, so that a part like
`postman.breaker` brings nothing along that it does not need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from postman.core.mail import Address, Attachment, Mail, OnDoubt
    from postman.entrypoints.producer import Producer

__all__ = ["Address", "Attachment", "Mail", "OnDoubt", "Producer"]

_HOMES = {
    "Address": "postman.core.mail",
    "Attachment": "postman.core.mail",
    "Mail": "postman.core.mail",
    "OnDoubt": "postman.core.mail",
    "Producer": "postman.entrypoints.producer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
