"""`python -m tests.deploy`: looks at an image, lets a worker in it deliver, and says what was run, for deploy/image.sh.

Needs both emulators in its environment. Exit status 1 where something is not as it should be.
"""

import argparse
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Final

import httpx

from postman.config import Settings
from postman.testing.waiting import wait_until_blocking
from tests.contract.cli.commands import SandboxProcess, mail, running_sandbox, write_lines
from tests.deploy.containers import WORK, Chrooted, Docker, Engine, Image, Running

_USER: Final = 65532
_MAILS: Final = 200
_SLOW: Final = 40
_EMULATORS: Final = ("PUBSUB_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST")
_NOT_RUN: Final = (
    "on Cloud Run or any other platform",
    "against Pub/Sub, Firestore or a provider: emulators and a sandbox",
)
_NOT_DOCKER: Final = ("by a container engine: namespaces and chroot", "on its own base, python:3.13-slim-bookworm")


def main() -> int:
    """Do what the command line says; return the exit status."""
    options = _parser().parse_args()
    image = Image.read(options.image)
    engine: Engine = Docker(options.docker) if options.docker else Chrooted(image, options.root)
    try:
        for fact in _facts(image, engine, options):
            _say(f"ok        {fact}")
    except (AssertionError, TimeoutError, subprocess.SubprocessError) as error:
        _say(f"NOT SO    {error}")
        return 1
    for what in (*_NOT_RUN, *(() if options.docker else _NOT_DOCKER)):
        _say(f"not run   {what}")
    return 0


def _facts(image: Image, engine: Engine, options: argparse.Namespace) -> Iterator[str]:
    yield from _look(image)
    if options.root:
        yield from _look_into(options.root)
    if options.look_only:
        _say("not run   anything in it")
        return
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with running_sandbox(folder) as sandbox:
            yield from _Trial(engine, sandbox, folder).run()


def _look(image: Image) -> Iterator[str]:
    assert image.user == f"{_USER}:{_USER}", f"its user is {image.user!r}"
    yield f"user {image.user}"
    assert (list(image.entrypoint), list(image.command)) == (["postman"], []), f"{image.entrypoint} {image.command}"
    yield "the entry point is postman itself, without a shell"
    assert image.health is None, "it has a health check"
    assert {"PATH", "PYTHONUNBUFFERED"} <= image.environ.keys()
    assert not [name for name in image.environ if name.startswith(("PIP_", "POSTMAN_"))]
    assert image.labels["org.opencontainers.image.title"] == "postman"
    labels = {name.rpartition(".")[2]: value for name, value in image.labels.items()}
    yield f"version {labels['version']}, revision {labels['revision']}"


def _look_into(root: Path) -> Iterator[str]:
    assert not (root / "src").exists()
    assert not [path for path in (root / "etc/pip.conf", root / "root/.cache/pip") if path.exists()]
    assert not list(root.glob("opt/*/bin/pip*"))
    yield "no sources beside it, no pip, and nothing of pip's configuration"
    files = [path for path in (root / "opt").rglob("*") if not path.is_symlink()]
    open_ones = [path for path in files if path.stat().st_uid == _USER or path.stat().st_mode & 0o022]
    assert not open_ones, f"its user may change {open_ones[0]}"
    yield f"its user may change none of the {len(files)} files of postman"
    missing = [
        path
        for path in (root / "opt").rglob("postman/**/*.py")
        if not list(path.parent.glob(f"__pycache__/{path.stem}.*"))
    ]
    assert not missing, f"{missing[0]} is not compiled"
    size = sum(path.lstat().st_size for path in files if path.is_file())
    yield f"all modules are compiled; {size / 1e6:.0f} MB beside its base"


class _Trial:
    """A worker in the image, from its start to its end."""

    def __init__(self, engine: Engine, sandbox: SandboxProcess, folder: Path) -> None:
        self._engine = engine
        self._sandbox = sandbox
        self._folder = folder
        self._port = _free_port()
        self._environ = {name: os.environ[name] for name in _EMULATORS} | {
            "POSTMAN_QUEUE": "pubsub:",
            "POSTMAN_LEDGER": "firestore:",
            "POSTMAN_PROJECT": f"demo-image-{token_hex(4)}",
            "POSTMAN_PROVIDERS": f"{WORK}/providers.toml",
            "POSTMAN_SHARDS": "2",
            "POSTMAN_PROBE_PORT": str(self._port),
            "SENDGRID_API_KEY": "SG.sandbox",
            "MAILGUN_API_KEY": "key-sandbox",
        }
        _write_providers(folder / "providers.toml", sandbox.urls)

    def run(self) -> Iterator[str]:
        wait_until_blocking(
            lambda: self._command("init"), within=60.0, every=1.0, what="init"
        )  # emulators begin slowly
        with Running(self._engine, ["worker"], self._environ, self._folder) as worker:
            worker.wait_for("worker_started")
            assert worker.identity == (1, _USER, _USER), f"process, user, group: {worker.identity}"
            yield f"process {worker.identity[0]} is `{' '.join(worker.arguments)}`, user {worker.identity[1]}"
            wait_until_blocking(lambda: self._probe("ready") == 200, within=20.0, what="ready")
            yield "its probes answer: alive and ready"
            began = time.monotonic()
            self._sandbox.wait_for(self._publish("m", _MAILS), within=60.0)
            yield f"{_MAILS} mails, from the emulators to the sandbox, each once, in {time.monotonic() - began:.1f} s"
            yield from self._drain(worker)

    def _drain(self, worker: Running) -> Iterator[str]:
        before = self._sandbox.requests()
        for provider in ("sendgrid", "mailgun"):
            self._sandbox.fail("slow", providers=[provider], seconds=3.0)
        self._publish("slow", _SLOW)
        wait_until_blocking(lambda: self._sandbox.requests() > before + 5, within=20.0, what="mails in flight")
        worker.terminate()
        told = time.monotonic()
        in_flight = worker.wait_for("worker_draining")["in_flight"]
        assert (self._probe("live"), self._probe("ready")) == (200, 503)
        grace = Settings().grace
        status = worker.ended(within=grace + 1.5)
        took = time.monotonic() - told
        assert (status, in_flight > 0) == (0, True), f"exit status {status}, {in_flight} in flight\n{worker.output}"
        assert not worker.events("in_doubt")
        assert len(self._sandbox.accepted()) >= _MAILS + in_flight, "some were not sent"
        yield f"SIGTERM to process 1: not ready, {in_flight} mails in flight sent, exit status 0 after {took:.1f} s"
        assert took < grace, f"more than POSTMAN_GRACE ({grace:g} s)"
        yield f"within POSTMAN_GRACE ({grace:g} s)"

    def _publish(self, prefix: str, count: int) -> list[str]:
        ids = [f"{prefix}-{number}" for number in range(count)]
        assert self._command("publish", f"{WORK}/{write_lines(self._folder / f'{prefix}.jsonl', map(mail, ids))}")
        return ids

    def _command(self, *arguments: str) -> bool:
        """Run another command of the image to its end; return whether it did what it should."""
        environ = self._environ | {"POSTMAN_PROBE_PORT": ""}
        with Running(self._engine, arguments, environ, self._folder) as command:
            return command.ended(within=60.0) == 0

    def _probe(self, name: str) -> int:
        try:
            return httpx.get(f"http://127.0.0.1:{self._port}/{name}", timeout=1.0, trust_env=False).status_code
        except httpx.TransportError:
            return 0


def _write_providers(path: Path, urls: Mapping[str, str]) -> None:
    lines = []
    for name, more in (("sendgrid", ""), ("mailgun", 'domain = "mg.example.org"\n')):
        key = f'api_key = "env:{name.upper()}_API_KEY"\n'
        lines.append(f'[[provider]]\nname = "{name}"\nkind = "{name}"\nbase_url = "{urls[f"{name}_url"]}"\n{key}{more}')
    path.write_text("\n".join(lines))


def _free_port() -> int:
    with closing(socket.create_server(("", 0))) as free:
        return int(free.getsockname()[1])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.deploy", description=__doc__)
    parser.add_argument("--image", type=Path, required=True, help="what the builder says of the image, as JSON")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--docker", metavar="TAG", help="run it with Docker")
    where.add_argument("--root", type=Path, help="run it where its files are mounted")
    parser.add_argument("--look-only", action="store_true")
    return parser


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 — a command's output


if __name__ == "__main__":
    sys.exit(main())
