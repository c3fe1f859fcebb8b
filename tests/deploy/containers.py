"""Runs a command of the image as a platform does: as process 1, as the image's user, with nothing of ours around it.

Where there is no engine, namespaces of Linux and `chroot` are what an engine would use too. It may write no file.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

import orjson

from postman.testing.waiting import wait_until_blocking

__all__ = ["WORK", "Chrooted", "Docker", "Engine", "Image", "Running"]

WORK: Final = "/mnt"
"""Where a container sees the folder that it is given."""

_ENTER: Final = """
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
mount --bind /dev "$1/dev"
mount -t proc proc "$1/proc"
mount --bind "$2" "$1/mnt"
root=$1 user=$3
shift 3
exec chroot --userspec="$user" --groups= "$root" "$@"
"""


@dataclass(frozen=True, slots=True)
class Image:
    """What an image says of itself."""

    user: str
    entrypoint: Sequence[str]
    command: Sequence[str]
    environ: Mapping[str, str]
    labels: Mapping[str, str]
    health: object = None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `docker image inspect` or `buildah inspect --type image` printed."""
        document: Any = orjson.loads(path.read_bytes())
        found: dict[str, Any] = document[0]["Config"] if isinstance(document, list) else document["OCIv1"]["config"]
        pairs = (each.partition("=") for each in found.get("Env") or ())
        return cls(
            user=found.get("User") or "",
            entrypoint=found.get("Entrypoint") or (),
            command=found.get("Cmd") or (),
            environ={name: value for name, _, value in pairs},
            labels=found.get("Labels") or {},
            health=found.get("Healthcheck"),
        )


class Engine(Protocol):
    """What runs an image; *folder* is to be seen at `WORK`."""

    def command(self, arguments: Sequence[str], environ: Mapping[str, str], folder: Path) -> Sequence[str]:
        """Return what runs the image with *arguments*, and *environ* beside its own."""
        ...

    def first(self, process: "subprocess.Popen[bytes]") -> int:
        """Return the id that process 1 of the container has out here; 0 until it has one."""
        ...


@dataclass(frozen=True, slots=True)
class Chrooted:
    """The image's files lie in *root*; needs to be root."""

    image: Image
    root: Path

    def command(self, arguments: Sequence[str], environ: Mapping[str, str], folder: Path) -> Sequence[str]:
        pairs = [f"{name}={value}" for name, value in {**self.image.environ, **environ}.items()]
        entering = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-euc", _ENTER, "sh")
        places = (str(self.root), str(folder), self.image.user)
        return ("env", "-i", *pairs, *entering, *places, *self.image.entrypoint, *arguments)

    def first(self, process: "subprocess.Popen[bytes]") -> int:
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = status.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == process.pid:
                return int(status.parent.name)
        return 0


@dataclass(frozen=True, slots=True)
class Docker:
    """The image is called *tag* there."""

    tag: str
    name: str = field(default_factory=lambda: f"postman-tried-{os.getpid()}")

    def command(self, arguments: Sequence[str], environ: Mapping[str, str], folder: Path) -> Sequence[str]:
        given = [f"--env={name}={value}" for name, value in environ.items()]
        own = ("--rm", f"--name={self.name}", "--network=host", "--read-only", f"--volume={folder}:{WORK}:ro")
        return ("docker", "run", *own, *given, self.tag, *arguments)

    def first(self, process: "subprocess.Popen[bytes]") -> int:
        asked = ("docker", "inspect", "--format={{.State.Pid}}", self.name)
        answer = subprocess.run(asked, capture_output=True, text=True, check=False)
        return int(answer.stdout) if answer.returncode == 0 else 0


class Running:
    """A container; leaving the context kills what still runs of it."""

    def __init__(self, engine: Engine, arguments: Sequence[str], environ: Mapping[str, str], folder: Path) -> None:
        self._log = folder / f"{arguments[0]}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                engine.command(arguments, environ, folder), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._engine = engine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
        self._process.wait()

    @property
    def pid(self) -> int:
        """The id that process 1 has out here."""
        return wait_until_blocking(lambda: self._engine.first(self._process), within=10.0, what="process 1")

    @property
    def output(self) -> str:
        return self._log.read_text()

    @property
    def identity(self) -> tuple[int, int, int]:
        """Its process id inside, its user and its group."""
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines())
        return int(fields["NSpid"].split()[-1]), int(fields["Uid"].split()[1]), int(fields["Gid"].split()[1])

    @property
    def arguments(self) -> list[str]:
        """The command line of process 1."""
        return Path(f"/proc/{self.pid}/cmdline").read_text().split("\0")[:-1]

    def terminate(self) -> None:
        """Send SIGTERM to process 1, as a platform does."""
        os.kill(self.pid, signal.SIGTERM)

    def ended(self, *, within: float) -> int:
        """Return the exit status."""
        return self._process.wait(within)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log events so far that are called *name*."""
        found = [orjson.loads(line) for line in self.output.splitlines() if line.startswith("{") and line.endswith("}")]
        return [event for event in found if event.get("event") == name]

    def wait_for(self, event: str, *, within: float = 30.0) -> dict[str, Any]:
        """Return the first log event called *event*."""
        wait_until_blocking(lambda: self.events(event) or self._process.poll() is not None, within=within, what=event)
        events = self.events(event)
        assert events, f"no {event}; exit status {self._process.poll()}\n{self.output}"
        return events[0]
