"""Which addresses the imitated providers take, and how a written list of them is read.

Both ask for a dot in the domain and for ASCII: a domain with other letters must come as punycode.
"""

import re
from email.header import decode_header, make_header
from email.utils import getaddresses
from functools import lru_cache

from postman.sandbox.mails import Mailbox

__all__ = ["REFUSED_DOMAIN", "is_address", "read_list"]

REFUSED_DOMAIN = "refused.example"
"""Of this domain both providers refuse every address, as they do an invalid one."""

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_QUOTED = r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e])+"'
_ADDRESS = re.compile(rf"(?=.{{1,64}}@)(?:{_ATOM}(?:\.{_ATOM})*|{_QUOTED})@(?:{_LABEL}\.)+{_LABEL}")
_LONGEST = 254


@lru_cache(maxsize=4096)
def is_address(text: str) -> bool:
    """Whether *text* is a bare address that both providers take; those at `refused.example` are not, for trying out."""
    is_refused = text.lower().endswith(f"@{REFUSED_DOMAIN}")
    return len(text) <= _LONGEST and _ADDRESS.fullmatch(text) is not None and not is_refused


@lru_cache(maxsize=1024)
def read_list(text: str) -> tuple[Mailbox, ...] | None:
    """Read comma-separated addresses with or without names; None if any of them is wrong."""
    if is_address(text):
        return (Mailbox(text),)
    if any(ord(letter) < 32 for letter in text):
        return None
    found = tuple(Mailbox(email, _decoded(name)) for name, email in getaddresses([text]))
    return found if found and all(is_address(each.email) for each in found) else None


def _decoded(name: str) -> str:
    if "=?" not in name:
        return name
    try:
        return str(make_header(decode_header(name)))
    except (ValueError, LookupError):
        return name
