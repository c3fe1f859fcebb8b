"""The servers of these tests: the functions framework's, and an issuer of tokens of our own."""

import os
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Final

import httpx
import orjson

from postman.testing.emulators._ports import free_port
from postman.testing.waiting import wait_until_blocking
from tests.contract.cli.commands import Process
from tests.contract.functions.tokens import ACCOUNT, AUDIENCE, claims, jwk, token

__all__ = ["FRAMEWORK", "OWN_FILE", "Framework", "Issuer", "envelope", "plain", "posted", "running_issuer"]

FRAMEWORK: Final = (str(Path(sys.executable).with_name("functions-framework")), "--source", "main.py", "--target")
OWN_FILE: Final = "from postman.entrypoints.functions import deliver, events, ingress\n"


class Issuer:
    """Signs tokens; its keys are at a local address."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def settings(self) -> dict[str, str]:
        """What lets `deliver` take its tokens."""
        return {
            "POSTMAN_PUSH_ACCOUNT": ACCOUNT,
            "POSTMAN_PUSH_AUDIENCE": AUDIENCE,
            "POSTMAN_PUSH_ISSUER": self.url,
            "POSTMAN_PUSH_KEYS": f"{self.url}/keys",
        }

    def token(self, *, key_id: str = "one", signed_by: str = "", **changed: Any) -> str:
        return token(claims(self.url, time.time(), **changed), key_id=key_id, signed_by=signed_by)

    def headers(self, **changed: Any) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token(**changed)}"}


@contextmanager
def running_issuer() -> Iterator[Issuer]:
    """Serve the keys of an issuer until the end of the block."""
    document = orjson.dumps({"keys": [jwk("one")]})

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(document)))
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 — the base class's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Keys) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield Issuer(f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()


class Framework(Process):
    """`functions-framework` itself, with a file of our own that names the functions."""

    def __init__(
        self, target: str, *, folder: Path, environ: Mapping[str, str], command: Sequence[str] = FRAMEWORK
    ) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.out, self.err = folder / f"{target}.out", folder / f"{target}.err"
        (folder / "main.py").write_text(OWN_FILE)
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self._process = subprocess.Popen(
                [*command, target, "--host", "127.0.0.1", "--port", str(port)],
                cwd=folder,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave none of its processes behind: those that serve outlive the first one."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        super().__exit__(kind, error, trace)

    def answers(self) -> bool:
        """Whether it listens; fails where it has ended."""
        assert self.is_running, self.err.read_text()
        try:
            return httpx.get(f"{self.url}/robots.txt", trust_env=False).status_code == 404
        except httpx.TransportError:
            return False

    def wait_until_listening(self) -> None:
        wait_until_blocking(self.answers, within=20.0, every=0.05)


def posted(data: bytes, attributes: Mapping[str, str], **changed: object) -> bytes:
    """Return the body of a push."""
    inner = {
        "data": b64encode(data).decode(),
        "attributes": dict(attributes),
        "messageId": "1",
        "message_id": "1",
        "publishTime": "2026-11-30T12:00:00.123456789Z",
        "publish_time": "2026-11-30T12:00:00.123456789Z",
    }
    document = {"message": inner, "subscription": "projects/demo-postman/subscriptions/postman-mail-2", **changed}
    return orjson.dumps(document)


def plain(mail_id: str, **changes: object) -> dict[str, object]:
    """Return a valid mail."""
    return {
        "id": mail_id,
        "from": {"email": "shop@mg.example.org"},
        "to": [{"email": "ann@example.org"}],
        "subject": "Your receipt",
        "text": "Thank you.",
        **changes,
    }


def envelope(mail_id: str, *, envelope: Mapping[str, object] | None = None, **changes: object) -> bytes:
    """Return the body of a push of a mail."""
    data = orjson.dumps(plain(mail_id, **changes))
    return posted(data, {"mail_id": mail_id, "schema": "1"}, **(envelope or {}))
