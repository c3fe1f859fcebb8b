"""`postman console` as it is run."""

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import pytest

from postman.testing.waiting import wait_until_blocking
from tests.contract.cli.commands import CLEAN, Process

_CLOSING = 5.0


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    database = f"sqlite:{tmp_path / 'postman.db'}"
    return {**CLEAN, "HOME": str(tmp_path), "POSTMAN_QUEUE": database, "POSTMAN_LEDGER": database}


@pytest.fixture
def running(tmp_path: Path, environ: dict[str, str]) -> Iterator[Process]:
    with Process(["console", "--json", "--port", "0"], folder=tmp_path, environ=environ, name="console") as process:
        wait_until_blocking(lambda: process.out.read_bytes().endswith(b"\n") or not process.is_running, within=20.0)
        yield process


def test_it_looks_at_an_empty_cluster_and_ends_at_once_while_somebody_looks(running: Process) -> None:
    told = orjson.loads(running.out.read_bytes())
    with httpx.Client(timeout=10.0, trust_env=False) as client:
        assert client.get(f"{told['url']}/live").text == "alive\n"
        assert "No worker has reported" in client.get(told["url"]).text
        assert client.get(told["login_url"]).status_code == 303
        with client.stream("GET", f"{told['url']}/stream/overview") as live:
            assert any(line.startswith("data: ") for line in live.iter_lines())
            running.signal(signal.SIGTERM)
            assert running.ended(within=_CLOSING) == 0

    assert told["login_url"].partition("token=")[2] not in running.err.read_text()
    assert not running.events("console_page_failed")
