"""The emulators from Google's image, where a Docker engine answers.

The container is no child of ours, so it watches us instead: its first process
reads from us and ends, and the container with it, when we are gone.
"""

import contextlib
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Mapping

from postman.testing.emulators._ports import answers
from postman.testing.emulators._server import Record
from postman.testing.emulators._service import EmulatorError, Service

__all__ = ["IMAGE", "ContainerServer", "engine", "remove"]

IMAGE = "gcr.io/google.com/cloudsdktool/google-cloud-cli:emulators"

_PORT = 8080
_ASK_LIMIT = 10.0
_PULL_LIMIT = 900.0
_POLL = 0.2


def engine(environment: Mapping[str, str] = os.environ) -> str:
    """Return the path of a `docker` whose engine answers, or raise `EmulatorError` with the reason."""
    docker = shutil.which("docker", path=environment.get("PATH"))
    if docker is None:
        raise EmulatorError("no docker on PATH")
    try:
        _ask(docker, "info", "--format", "{{.ServerVersion}}")
    except EmulatorError as error:
        raise EmulatorError("no Docker engine answers") from error
    return docker


def remove(container: str) -> None:
    """Remove the container of this name, if it is there."""
    _ask(engine(), "rm", "--force", container)


class ContainerServer:
    """An emulator in a container of ours, published on 127.0.0.1 only."""

    def __init__(self, service: Service, docker: str, *, lasting: bool) -> None:
        self._service = service
        self._docker = docker
        self._lasting = lasting
        self._name = f"postman-{service}-{secrets.token_hex(6)}"
        self._client: subprocess.Popen[bytes] | None = None
        self.host = ""

    @property
    def record(self) -> Record | None:
        return Record(self.host, container=self._name) if self._client else None

    def start(self, *, within: float) -> None:
        if self._client is not None:
            raise EmulatorError(f"the {self._service.label} emulator runs already")
        self._fetch_image()
        limit = time.monotonic() + within
        self._client = self._run()
        try:
            while not (self._find_host() and answers(self.host)):
                self._check(limit)
                time.sleep(_POLL)
        except BaseException:
            with contextlib.suppress(EmulatorError):  # the first error says more
                self.stop()
            raise

    def stop(self) -> None:
        if self._client is None:
            return
        try:
            _ask(self._docker, "rm", "--force", self._name)
        finally:
            self._client.communicate()
            self._client = None

    def pause(self) -> None:
        _ask(self._docker, "pause", self._name)

    def resume(self) -> None:
        _ask(self._docker, "unpause", self._name)

    def _fetch_image(self) -> None:
        try:
            _ask(self._docker, "image", "inspect", IMAGE)
        except EmulatorError:
            _ask(self._docker, "pull", "--quiet", IMAGE, within=_PULL_LIMIT)

    def _run(self) -> subprocess.Popen[bytes]:
        port = self.host.rpartition(":")[2]
        group = "beta emulators pubsub" if self._service is Service.PUBSUB else "emulators firestore"
        start = f"gcloud {group} start --project=demo-postman --host-port=0.0.0.0:{_PORT}"
        script = f"exec {start}" if self._lasting else f"{start} & exec cat"
        options = ["--rm", "--detach" if self._lasting else "--interactive", f"--name={self._name}"]
        options.append(f"--publish=127.0.0.1:{port}:{_PORT}")
        return subprocess.Popen(  # noqa: S603 — no shell here; every part is ours
            (self._docker, "run", *options, IMAGE, "sh", "-c", script),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def _find_host(self) -> bool:
        try:
            self.host = _ask(self._docker, "port", self._name, f"{_PORT}/tcp").splitlines()[0]
        except (EmulatorError, IndexError):
            return False
        return True

    def _check(self, limit: float) -> None:
        client = self._client
        if client and client.poll() and client.stderr:
            raise EmulatorError(f"docker run failed: {client.stderr.read().decode(errors='replace').strip()}")
        if time.monotonic() >= limit:
            raise EmulatorError("the container did not answer in time")


def _ask(*command: str, within: float = _ASK_LIMIT) -> str:
    """Run a short docker command and return what it printed."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=within, check=True)  # noqa: S603 — no shell; every part is ours
    except subprocess.CalledProcessError as error:
        raise EmulatorError(f"docker {command[1]} failed: {error.stderr.strip()}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EmulatorError(f"docker {command[1]} did not answer") from error
    return answer.stdout.strip()
