"""Who acts and why, as it is kept."""

import getpass
import os
import socket
from typing import Final

from postman.core.events import address_tag
from postman.core.text import check_line
from postman.errors import ConfigError

__all__ = ["checked_why", "tagged", "this_user", "with_why"]

_LONGEST_WHY: Final = 200


def this_user() -> str:
    """Name the one who makes a change as this machine knows him; on the platform that is its account."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def tagged(by: str) -> str:
    """Return *by* as it may stand where no address may: of an e-mail address only a tag."""
    return f"#{address_tag(by)}" if "@" in by else by


def checked_why(why: str, field: str = "--why") -> str:
    """Return *why*; raises `ConfigError`, which names *field*, for an address in it, or one too long."""
    try:
        check_line(why)
    except ValueError as error:
        raise ConfigError(f"{field}: {error}") from None
    if "@" in why or len(why) > _LONGEST_WHY:
        raise ConfigError(f"{field}: must have no address in it, and at most {_LONGEST_WHY} characters")
    return why


def with_why(what: str, why: str, field: str = "--why") -> str:
    """Return *what* was done with the reason that a person gave, if any."""
    return f"{what}: {checked_why(why, field)}" if why else what
