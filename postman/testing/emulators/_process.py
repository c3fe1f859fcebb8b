"""Processes that end with us, and processes that outlive us."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from postman.testing.emulators import _leash

__all__ = ["born", "end", "spawn", "tail"]

_END_LIMIT = 10.0


def spawn(command: Sequence[str], *, log: Path, lasting: bool) -> subprocess.Popen[bytes]:
    """Start *command* with its output in *log*; unless *lasting*, it dies when this process does, however that ends.

    It has a session of its own, so that Ctrl-C in a terminal reaches us and not it.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    if not lasting and sys.platform == "linux":
        command = (sys.executable, "-I", "-S", _leash.__file__, str(os.getpid()), *command)
    if lasting:
        return _popen(command, log)
    return _spawner().submit(_popen, command, log).result()


def born(pid: int) -> str:
    """Return what tells the process *pid* from others that had or get its number; empty where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return "" if Path("/proc/self/stat").exists() else _started_by_ps(pid)
    state, *rest = stat.rpartition(")")[2].split()
    if state in {"Z", "X"}:
        return ""
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {rest[18]}"


def end(pid: int, birth: str) -> bool:
    """Kill the process *pid* if it is the one of this *birth*, and wait until it is gone; False if it was not there."""
    if not birth or born(pid) != birth:
        return False
    os.kill(pid, signal.SIGKILL)
    limit = time.monotonic() + _END_LIMIT
    while born(pid) == birth and time.monotonic() < limit:
        time.sleep(0.02)
    return True


def tail(log: Path, *, lines: int = 15) -> str:
    """Return the last *lines* of *log*, for an error's text."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def _popen(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(  # noqa: S603 — no shell; the command is ours
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )


@cache
def _spawner() -> ThreadPoolExecutor:
    """Return the thread that starts all children, as the kernel calls a parent dead when its starting *thread* ends."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="emulators")


def _started_by_ps(pid: int) -> str:
    answer = subprocess.run(("ps", "-o", "lstart=", "-p", str(pid)), capture_output=True, text=True, check=False)  # noqa: S603, S607 — no shell, a number
    return answer.stdout.strip()
