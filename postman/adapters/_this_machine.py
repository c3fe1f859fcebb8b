"""Whether an emulator's address leads nowhere but to this machine."""

import re
from ipaddress import ip_address
from typing import Final

__all__ = ["is_on_this_machine"]

_ADDRESS: Final = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:]+)\]|(?P<four>[0-9.]+|localhost)):(?P<port>[0-9]{1,5})")


def is_on_this_machine(address: str) -> bool:
    """Whether *address* is `host:port` with a loopback address, or `localhost`, as its host."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        return False
    host = match["six"] or match["four"]
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
