"""One emulator: a process of ours, or one that was running already."""

import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from postman.testing.emulators._ports import Listener, answers, free_port, listener
from postman.testing.emulators._process import born, spawn, tail
from postman.testing.emulators._sdk import Command
from postman.testing.emulators._service import EmulatorError, PortTakenError, Service

__all__ = ["ExternalServer", "JavaServer", "Record", "Server"]

_TRIES = 5
_POLL = 0.05
_LOST_RACE = ("Address already in use", "BindException")


@dataclass(frozen=True, slots=True)
class Record:
    """What another process needs to stop a server: nothing but that very one."""

    host: str
    pid: int = 0
    born: str = ""
    container: str = ""


class Server(Protocol):
    """An emulator at *host*. What we did not start refuses every other method with `EmulatorError`."""

    @property
    def host(self) -> str: ...

    @property
    def record(self) -> Record | None:
        """How to stop it from outside; None if that is not our affair."""
        ...

    def start(self, *, within: float) -> None:
        """Return once it answers, on its former port if it had one; it is stopped if it does not *within* seconds."""
        ...

    def stop(self) -> None:
        """Kill it, and wait until it is gone; what it held is lost. Stopping twice is fine."""
        ...

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        ...

    def resume(self) -> None: ...


class ExternalServer:
    """An emulator that somebody else runs, named by the environment."""

    record = None

    def __init__(self, service: Service, host: str) -> None:
        self.host = host
        self._service = service

    def start(self, *, within: float) -> None:  # noqa: ARG002 — the port's name for it
        raise self._refusal("started")

    def stop(self) -> None:
        raise self._refusal("stopped")

    def pause(self) -> None:
        raise self._refusal("paused")

    def resume(self) -> None:
        raise self._refusal("resumed")

    def _refusal(self, verb: str) -> EmulatorError:
        return EmulatorError(
            f"the {self._service.label} emulator at {self.host} is not ours: it is not {verb} from here"
        )


class JavaServer:
    """An emulator that is a Java process of ours."""

    def __init__(self, service: Service, command: Command, *, log_dir: Path, lasting: bool) -> None:
        self._service = service
        self._command = command
        self._log_dir = log_dir
        self._lasting = lasting
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def record(self) -> Record | None:
        if self._process is None:
            return None
        return Record(self.host, pid=self._process.pid, born=born(self._process.pid))

    def start(self, *, within: float) -> None:
        if self._process is not None:
            raise EmulatorError(f"the {self._service.label} emulator runs already")
        limit = time.monotonic() + within
        ports = (self._port,) if self._port else (free_port() for _ in range(_TRIES))
        for port in ports:
            try:
                self._start_on(port, limit)
            except PortTakenError:
                continue
            self._port = port
            return
        raise EmulatorError("every port that was tried was taken by another process")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise EmulatorError(f"the {self._service.label} emulator is stopped")
        self._process.send_signal(number)

    def _start_on(self, port: int, limit: float) -> None:
        log = self._log_dir / f"{self._service}-{port}.log"
        self._process = spawn(self._command(port), log=log, lasting=self._lasting)
        try:
            while not _is_ready(self._process, port, log):
                _wait(limit, log)
        except BaseException:
            self.stop()
            raise


def _wait(limit: float, log: Path) -> None:
    if time.monotonic() >= limit:
        raise EmulatorError(f"it did not answer in time; the end of its log:\n{tail(log)}")
    time.sleep(_POLL)


def _is_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    """Whether *process* itself answers on *port*; Pub/Sub's stays alive, and silent, when it lost the race for it."""
    owner = listener(port, process.pid)
    if owner is Listener.ANOTHER or any(sign in tail(log, lines=200) for sign in _LOST_RACE):
        raise PortTakenError(f"port {port} was taken by another process")
    if process.poll() is not None:
        raise EmulatorError(f"it ended with status {process.returncode}; the end of its log:\n{tail(log)}")
    return owner is not Listener.NOBODY and answers(f"127.0.0.1:{port}")
