"""The command `postman sandbox`, run as its users run it."""

import json
import signal
import socket
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

PROGRAM = "from postman.entrypoints.cli.sandbox import app; app(prog_name='postman sandbox')"
FREE = ("--port", "0", "--sendgrid-port", "0", "--mailgun-port", "0")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM, *arguments]


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=30, check=False)


@dataclass(frozen=True)
class Running:
    process: "subprocess.Popen[str]"
    urls: dict[str, str]
    providers: Path

    def stop(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=10)


@contextmanager
def started(directory: Path) -> Iterator[Running]:
    providers = directory / "made" / "providers.toml"
    arguments = command("--json", *FREE, "--lookup-delay", "2", "--providers", str(providers))
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Running(process, json.loads(process.stdout.readline()), providers)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One for all tests that leave it running."""
    with started(tmp_path_factory.mktemp("sandbox")) as shared:
        yield shared


def send(url: str, mail_id: str = "m-1") -> httpx.Response:
    document: dict[str, Any] = {
        "personalizations": [{"to": [{"email": "ann@example.com"}], "custom_args": {"mail_id": mail_id}}],
        "from": {"email": "shop@example.org"},
        "subject": "Receipt",
        "content": [{"type": "text/plain", "value": "Thanks"}],
    }
    headers = {"Authorization": "Bearer SG.sandbox"}
    return httpx.post(f"{url}/v3/mail/send", json=document, headers=headers, timeout=5, trust_env=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_and_ends_cleanly_on_a_signal(tmp_path: Path, number: int) -> None:
    with started(tmp_path) as own:
        assert send(own.urls["sendgrid_url"]).status_code == 202

        assert own.stop(number) == 0
        assert own.process.stderr is not None
        assert own.process.stderr.read() == ""


def test_the_providers_document_points_at_it_and_holds_no_key(running: Running) -> None:
    text = running.providers.read_text(encoding="utf-8")
    sendgrid, mailgun = tomllib.loads(text)["provider"]

    assert (sendgrid["kind"], sendgrid["base_url"]) == ("sendgrid", running.urls["sendgrid_url"])
    assert (mailgun["kind"], mailgun["base_url"]) == ("mailgun", running.urls["mailgun_url"])
    assert mailgun["domain"] == "mg.example.org"
    assert sendgrid["look_up_after"] == mailgun["look_up_after"] == 3.0
    for reference, key in ((sendgrid["api_key"], "SG.sandbox"), (mailgun["api_key"], "key-sandbox")):
        kind, _, path = reference.partition(":")
        assert (kind, Path(path).read_text(encoding="utf-8")) == ("file", key)
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
        assert key not in text


def test_faults_are_set_and_cleared_from_another_terminal(running: Running) -> None:
    url = ("--url", running.urls["url"])

    done = run("fault", "sendgrid", "throttle", "--seconds", "3", "--only", "send", *url)
    assert (done.returncode, "throttle" in done.stdout) == (0, True)
    assert send(running.urls["sendgrid_url"]).status_code == 429

    assert run("clear", "sendgrid", *url).returncode == 0
    assert send(running.urls["sendgrid_url"]).status_code == 202


def test_mails_are_listed_for_people_and_programs(running: Running) -> None:
    send(running.urls["sendgrid_url"], "m-[red]1")
    url = ("--url", running.urls["url"])

    shown, listed = run("mails", *url), run("mails", "--json", *url)

    assert (shown.returncode, "m-[red]1" in shown.stdout) == (0, True)
    assert json.loads(listed.stdout)["mails"][0]["mail_id"] == "m-[red]1"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fault", "ses", "down"), "no such provider"),
        (("fault", "sendgrid", "nap"), "kind: must be one of"),
        (("fault", "sendgrid", "refuse", "--rate", "0.5"), "rate: has no meaning"),
        (("clear", "ses"), "no such provider"),
    ],
)
def test_wrong_use_of_a_running_sandbox_is_explained(running: Running, arguments: tuple[str, ...], words: str) -> None:
    done = run(*arguments, "--url", running.urls["url"])

    assert done.returncode == 2
    assert words in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--host", "0.0.0.0", *FREE), "--allow-remote"),
        (("--webhook-url-mailgun", "localhost", *FREE), "--webhook-url-mailgun"),
        (("--providers", "/proc/nothing/here.toml", *FREE), "cannot be written"),
        (("mails", "--url", "localhost:1"), "--url"),
    ],
)
def test_wrong_settings_end_it_with_2_and_a_reason(arguments: tuple[str, ...], words: str) -> None:
    done = run(*arguments)

    assert done.returncode == 2
    assert words in done.stderr


def test_a_port_in_use_is_named(running: Running) -> None:
    port = running.urls["mailgun_url"].rpartition(":")[2]

    done = run("--port", "0", "--sendgrid-port", port, "--mailgun-port", "0")

    assert (done.returncode, port in done.stderr) == (2, True)


@pytest.mark.parametrize("arguments", [("mails",), ("clear",), ("fault", "sendgrid", "down")])
def test_a_sandbox_that_is_not_there_ends_the_command_with_1(arguments: tuple[str, ...]) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        done = run(*arguments, "--url", f"http://127.0.0.1:{silent.getsockname()[1]}")

    assert done.returncode == 1
    assert "no sandbox answers" in done.stderr
