"""The command as a user runs it: real processes, real files, and a sandbox that counts for itself."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx
import orjson

from postman.adapters.clock import SystemClock
from postman.adapters.sqlite import open_ledger
from postman.core.ids import MailId
from postman.ports.opening import Cluster
from postman.testing.waiting import wait_until_blocking
from tests.contract.cli.forks import Forks

__all__ = ["CLEAN", "COMMAND", "Postman", "Process", "Ran", "SandboxProcess", "mail", "running_sandbox", "write_lines"]

COMMAND: Final = (sys.executable, "-m", "postman")
_LIMIT: Final = 30.0
CLEAN: Final = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}

_PROVIDERS: Final = """\
[[provider]]
name = "sendgrid"
kind = "sendgrid"
base_url = "{sendgrid}"
api_key = "env:SENDGRID_API_KEY"
timeout = {timeout}
look_up_after = {look_up_after}

[[provider]]
name = "mailgun"
kind = "mailgun"
domain = "mg.example.org"
base_url = "{mailgun}"
api_key = "env:MAILGUN_API_KEY"
timeout = {timeout}
look_up_after = {look_up_after}
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Stdout, where it is nothing but JSON lines."""
        return [orjson.loads(line) for line in self.out.splitlines()]

    @property
    def complaints(self) -> list[str]:
        """What was said on stderr, one for each problem."""
        return [line.removeprefix("postman: ") for line in self.err.splitlines()]


class Process:
    """A command that runs on; its output goes to two files. Leaving the context kills what still runs."""

    def __init__(self, arguments: Sequence[str], *, folder: Path, environ: Mapping[str, str], name: str) -> None:
        self.out, self.err = folder / f"{name}.out", folder / f"{name}.err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self._process = subprocess.Popen(
                [*COMMAND, *arguments],
                cwd=folder,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self.signal(signal.SIGKILL)
        self._process.wait()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def ended(self, *, within: float) -> int:
        """Return the exit status."""
        return self._process.wait(within)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """Return the log events so far, all or those called *name*."""
        lines = [line for line in self.err.read_bytes().splitlines() if line.startswith(b"{") and line.endswith(b"}")]
        events: list[dict[str, Any]] = [orjson.loads(line) for line in lines]
        return [event for event in events if name in ("", event["event"])]

    def wait_for(self, event: str, *, within: float = _LIMIT) -> dict[str, Any]:
        """Return the first log event called *event*."""
        wait_until_blocking(lambda: self.events(event) or not self.is_running, within=within, what=f"the event {event}")
        events = self.events(event)
        assert events, self.err.read_text()
        return events[0]


class Postman:
    """Runs commands in *folder*, with SQLite there and an environment of their own."""

    def __init__(self, folder: Path, forks: Forks, **settings: str) -> None:
        self.folder = folder
        self._forks = forks
        self.environ = {
            **CLEAN,
            "HOME": str(folder),
            "POSTMAN_QUEUE": f"sqlite:{folder / 'postman.db'}",
            "POSTMAN_LEDGER": f"sqlite:{folder / 'postman.db'}",
            "POSTMAN_PROVIDERS": str(folder / "providers.toml"),
            "POSTMAN_SHARDS": "4",
            "POSTMAN_ACK_DEADLINE": "10",
            "SENDGRID_API_KEY": "SG.sandbox",
            "MAILGUN_API_KEY": "key-sandbox",
            **settings,
        }
        self._started = count(1)

    def with_settings(self, settings: Mapping[str, str]) -> Self:
        """Return one in the same folder, where *settings* are in the environment too."""
        other = copy(self)
        other.environ = {**self.environ, **settings}
        return other

    def __call__(self, *arguments: str, stdin: bytes = b"", **settings: str) -> Ran:
        """Run a command to its end, without a terminal, in a process that has imported everything already."""
        number = next(self._started)
        files = [self.folder / f"{number}.{name}" for name in ("in", "out", "err")]
        for file in files:
            file.write_bytes(stdin if file.suffix == ".in" else b"")
        status = self._forks.run(arguments, folder=self.folder, environ=self.environ | settings, files=files)
        return Ran(status, files[1].read_text(), files[2].read_text())

    def anew(self, *arguments: str, stdin: bytes = b"", **settings: str) -> Ran:
        """Run a command to its end, piped and without a terminal, exactly as a shell starts it."""
        ended = subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self.environ | settings,
            input=stdin,
            capture_output=True,
            timeout=_LIMIT,
            start_new_session=True,
            check=False,
        )
        return Ran(ended.returncode, ended.stdout.decode(), ended.stderr.decode())

    def start(self, *arguments: str, **settings: str) -> Process:
        """Start a command that runs on."""
        name = f"{arguments[0]}-{next(self._started)}"
        return Process(arguments, folder=self.folder, environ=self.environ | settings, name=name)

    @contextmanager
    def working(self, **settings: str) -> Iterator[Process]:
        """Have a worker that has started; at the end it is broken off, which is quicker than to drain."""
        with self.start("worker", **settings) as worker:
            worker.wait_for("worker_started")
            yield worker
            worker.signal(signal.SIGTERM)
            worker.wait_for("worker_draining")
            worker.signal(signal.SIGTERM)
            assert worker.ended(within=5.0) in (0, 1), worker.err.read_text()

    def use(self, sandbox: "SandboxProcess", *, timeout: float = 5.0, look_up_after: float = 1.0) -> None:
        """Point the providers' document at *sandbox*."""
        document = _PROVIDERS.format(
            sendgrid=sandbox.urls["sendgrid_url"],
            mailgun=sandbox.urls["mailgun_url"],
            timeout=timeout,
            look_up_after=look_up_after,
        )
        (self.folder / "providers.toml").write_text(document)

    def dead(self) -> list[dict[str, Any]]:
        """Return the dead letters, as the command lists them."""
        return self("dead", "list", "--json").lines

    def states(self, ids: Iterable[str]) -> dict[str, str]:
        """Return what the ledger says of each mail; nothing where it says nothing."""
        return asyncio.run(_states(self.folder / "postman.db", list(ids)))

    def wait_until_sent(self, ids: Iterable[str], *, within: float) -> None:
        """Return once all of *ids* are recorded as sent."""
        wanted = dict.fromkeys(ids, "sent")
        wait_until_blocking(
            lambda: self.states(wanted) == wanted, within=within, every=0.2, what=f"{len(wanted)} mails recorded"
        )


async def _states(path: Path, ids: Iterable[str]) -> dict[str, str]:
    ledger = open_ledger(str(path), Cluster(SystemClock(), shards=4))
    found = {mail_id: await ledger.find(MailId(mail_id)) for mail_id in ids}
    await ledger.aclose()
    return {mail_id: str(entry.state) for mail_id, entry in found.items() if entry is not None}


class SandboxProcess:
    """A sandbox in a process of its own, asked over HTTP."""

    def __init__(self, urls: Mapping[str, str], pid: int = 0) -> None:
        self.urls = urls
        self.pid = pid
        self._client = httpx.Client(base_url=urls["url"], timeout=10.0, trust_env=False)

    def close(self) -> None:
        self._client.close()

    def forget(self) -> None:
        """Begin anew: no mails, no counts, no faults."""
        self._call("DELETE", "/api/faults")
        self._call("DELETE", "/api/mails")

    def fail(self, kind: str, *, providers: Sequence[str] = ("sendgrid", "mailgun"), **fields: Any) -> None:
        """Set a fault at each of *providers*."""
        for provider in providers:
            self._call("PUT", f"/api/faults/{provider}", {"kind": kind, **fields})

    def recover(self) -> None:
        self._call("DELETE", "/api/faults")

    def accepted(self) -> list[str]:
        """Return the id of every mail that a provider took, as often as it did."""
        return [each["mail_id"] for each in self._call("GET", "/api/mails")["mails"]]

    def requests(self) -> int:
        """Return how many requests came in."""
        return int(self._call("GET", "/api/stats")["requests"])

    def wait_for(self, ids: Iterable[str], *, within: float) -> None:
        """Return once each of *ids* was taken, and fail if any was taken twice."""
        wanted = set(ids)
        wait_until_blocking(
            lambda: wanted <= set(self.accepted()), within=within, every=0.1, what=f"{len(wanted)} mails accepted"
        )
        accepted = self.accepted()
        assert len(accepted) == len(set(accepted)), "a mail was sent twice"

    def _call(self, method: str, path: str, document: object = None) -> dict[str, Any]:
        reply = self._client.request(method, path, json=document)
        assert reply.is_success, reply.text
        found: dict[str, Any] = reply.json() if reply.content else {}
        return found


@contextmanager
def running_sandbox(folder: Path, *options: str) -> Iterator[SandboxProcess]:
    """Run a sandbox on free ports."""
    ports = ("--port", "0", "--sendgrid-port", "0", "--mailgun-port", "0")
    with Process(["sandbox", "--json", *ports, *options], folder=folder, environ=CLEAN, name="sandbox") as process:
        line = wait_until_blocking(process.out.read_text, within=_LIMIT, what="the sandbox's addresses")
        sandbox = SandboxProcess(orjson.loads(line), process.pid)
        try:
            yield sandbox
        finally:
            sandbox.close()


def mail(mail_id: str, **changes: object) -> dict[str, object]:
    """Return a valid mail."""
    plain = {
        "id": mail_id,
        "from": {"email": "shop@example.com"},
        "to": [{"email": "ann@example.org"}],
        "subject": "Your receipt",
        "text": "Thank you.",
    }
    return {name.rstrip("_"): value for name, value in (plain | changes).items() if value is not None}


def write_lines(path: Path, mails: Iterable[dict[str, object]]) -> str:
    """Write *mails* as JSON lines; return the file's name."""
    path.write_bytes(b"".join(orjson.dumps(each) + b"\n" for each in mails))
    return path.name
