"""Ports of 127.0.0.1, and who listens on them."""

import http.client
import socket
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

__all__ = ["Listener", "answers", "free_port", "listener"]

_LISTENING = "0A"


class Listener(StrEnum):
    """Who listens on a port."""

    NOBODY = "nobody"
    OURS = "ours"
    ANOTHER = "another"
    UNKNOWN = "unknown"
    """Where the system does not tell."""


def free_port() -> int:
    """Return a port on which nothing listened just now; another process may still be quicker."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def listener(port: int, pid: int) -> Listener:
    """Say whether the process *pid* is the one that listens on *port*."""
    if not Path("/proc/net/tcp").exists():
        return Listener.UNKNOWN
    inodes = set(_listening(port))
    if not inodes:
        return Listener.NOBODY
    return Listener.OURS if inodes <= set(_sockets(pid)) else Listener.ANOTHER


def answers(host: str, *, within: float = 1.0) -> bool:
    """Whether an emulator at *host* ("address:port") answers its root page with 200."""
    connection = http.client.HTTPConnection(host, timeout=within)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()


def _listening(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not Path(table).exists():
            continue
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _sockets(pid: int) -> Iterator[str]:
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                yield target[len("socket:[") : -1]
    except OSError:
        return  # it has ended, or closed one while we looked
