"""The curl example on its own: what it does when the server says that the queue is away."""

import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Final

import orjson
import pytest

from tests.contract.cli.commands import CLEAN
from tests.examples.mail_vectors import ROOT
from tests.examples.scene import mails_of

_MAIL: Final = orjson.dumps(mails_of("away", 1)[0])
_TAKEN: Final = b'[{"id":"away-0","shard":1}]'


class _Server(ThreadingHTTPServer):
    """Answers 503 once, and then takes everything."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[bytes] = []


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        is_away = len(self.server.bodies) == 1
        body = b'{"title":"Service Unavailable","mails":[]}' if is_away else _TAKEN
        self.send_response(503 if is_away else 202)
        self.send_header("Content-Length", str(len(body)))
        if is_away:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 — the base class has called it so
        """Be silent."""


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_it_comes_again_with_the_same_mail_after_the_time_that_the_server_names(server: _Server) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    environ = CLEAN | {"POSTMAN_URL": f"http://127.0.0.1:{server.server_port}"}
    command = [str(ROOT / "examples" / "publish" / "curl" / "publish.sh")]
    done = subprocess.run(command, env=environ, input=_MAIL, capture_output=True, timeout=30, check=False)

    assert (done.returncode, done.stdout) == (0, _TAKEN)
    assert server.bodies == [_MAIL, _MAIL]
