"""Emulators that stay up between commands, remembered in a file.

The file names each process by its number *and* its birth, so that `down` never
hits a stranger who was given the number later.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from postman.testing.emulators import _docker
from postman.testing.emulators._emulators import DEFAULT_PROJECT, Emulators
from postman.testing.emulators._ports import answers
from postman.testing.emulators._process import born, end
from postman.testing.emulators._server import Record
from postman.testing.emulators._service import EmulatorError, Service

__all__ = ["down", "environment", "up"]


def up(state: Path, *, wanted: Iterable[str] = tuple(Service), heap: str = "1g") -> dict[str, str]:
    """Start those *wanted* that do not run yet, note them in *state*, and return why others are missing."""
    with _locked(state):
        running = {name: record for name, record in _read(state).items() if _is_alive(record)}
        rest = [name for name in wanted if name not in running]
        emulators = Emulators.start(rest, log_dir=state.parent / "emulators", heap=heap, lasting=True)
        _write(state, running | emulators.records)
    return dict(emulators.missing)


def down(state: Path) -> list[str]:
    """Stop what *state* notes, forget it, and return the names of those that were still running."""
    with _locked(state):
        records = _read(state)
        stopped = [name for name, record in records.items() if _stop(record)]
        state.unlink(missing_ok=True)
    return stopped


def environment(state: Path) -> dict[str, str]:
    """Return the variables for those of *state* that run, and the settings to use them; empty if none does."""
    hosts = {Service(name): record.host for name, record in _read(state).items() if _is_alive(record)}
    variables = {service.variable: host for service, host in hosts.items()}
    settings = dict(service.setting for service in hosts)
    return variables | {"GOOGLE_CLOUD_PROJECT": DEFAULT_PROJECT} | settings if hosts else {}


def _is_alive(record: Record) -> bool:
    if record.container:
        return answers(record.host)
    return bool(record.born) and born(record.pid) == record.born


def _stop(record: Record) -> bool:
    if not record.container:
        return end(record.pid, record.born)
    was_alive = _is_alive(record)
    _docker.remove(record.container)
    return was_alive


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    """Keep other processes from changing *state* meanwhile."""
    state.parent.mkdir(parents=True, exist_ok=True)
    with state.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(state: Path) -> dict[str, Record]:
    try:
        content = json.loads(state.read_text())
        return {name: Record(**fields) for name, fields in content.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        raise EmulatorError(f"{state} is damaged: look which emulators run, then remove it") from error


def _write(state: Path, records: dict[str, Record]) -> None:
    draft = state.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps({name: asdict(record) for name, record in records.items()}, indent=2) + "\n")
    draft.replace(state)
