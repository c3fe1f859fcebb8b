"""Readings for a taster's child: what a message's id asks for happens while it is read."""

import os
import signal
import sys
import time
from pathlib import Path

from postman.adapters._tasting_child import read
from postman.core.mail import Mail
from postman.core.message import Message

__all__ = ["deadly", "deadly_rendering"]


def deadly(message: Message) -> Mail:
    """End or block the process for some ids; read all others."""
    match message.attributes.get("mail_id", "").partition(":"):
        case "killed", _, _:
            os.kill(os.getpid(), signal.SIGKILL)
        case "killed-once", _, path:
            _kill_once(Path(path))
        case "exits", _, _:
            os._exit(3)
        case "sleeps", _, path:
            Path(path or os.devnull).touch()
            time.sleep(60.0)
        case "spins", _, _:
            while True:
                pass
        case "eats", _, _:
            return bytearray(1 << 32)  # type: ignore[return-value]  # never returned: it is too much
        case "raises", _, _:
            raise RecursionError("with the text of a mail")
        case "prints", _, _:
            sys.stdout.write("fine\nfine\n")
            os.write(1, b"fine\n")
    return read(message)


def deadly_rendering(mail: Mail, provider: str) -> bytes:
    """End the process for one subject, fail for another."""
    if mail.subject == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return mail.subject.encode("ascii")


def _kill_once(mark: Path) -> None:
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
