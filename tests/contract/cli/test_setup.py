"""`postman init`, `providers`, `sandbox`, and what all commands have in common."""

import asyncio
import signal
import socket
from contextlib import aclosing
from pathlib import Path

import httpx
import orjson
import pytest

from postman.adapters.clock import SystemClock
from postman.adapters.sqlite import open_layouts
from postman.core.layout import Layout
from postman.ports.opening import Cluster
from postman.testing.waiting import wait_until_blocking
from tests.contract.cli.commands import Postman, SandboxProcess, mail

_DOCUMENT = """\
[[provider]]
name = "first"
kind = "sendgrid"
api_key = "env:SENDGRID_API_KEY"
weight = 3
rate = 50.0

[[provider]]
name = "second"
kind = "mailgun"
domain = "mg.example.org"
api_key = "env:MAILGUN_API_KEY"
concurrency = 20

[[provider]]
name = "retired"
kind = "sendgrid"
enabled = false
base_url = "https://user:hunter2@old.example.org"
api_key = "env:NOT_SET_ANY_MORE"
"""


def test_init_makes_what_is_missing_and_nothing_the_second_time(postman: Postman) -> None:
    first, second = postman.anew("init", "--json"), postman("init", "--json")

    assert (first.status, second.status) == (0, 0)
    [made] = first.lines
    assert "postman-mail-0" in made["made"]
    assert "postman-mail-3-dead" in made["made"]
    assert second.lines == [{"made": []}]
    assert "ready: 4 shards at sqlite:" in postman("init").out


def test_init_makes_the_shards_that_workers_read_not_those_of_the_settings(postman: Postman) -> None:
    """Those that were given up may have been removed, and stay so."""
    ledger = postman.folder / "ledger.db"
    _change(ledger, Layout(publish=2, consume=3, top=6, epoch=1))
    ran = postman("init", "--json", POSTMAN_LEDGER=f"sqlite:{ledger}")

    [made] = ran.lines
    assert made["made"] == [f"postman-mail-{shard}{ending}" for ending in ("", "-dead") for shard in range(3)]
    said = postman("init", POSTMAN_LEDGER=f"sqlite:{ledger}").out
    assert "not looked at: shards 3 to 5, which were given up" in said
    assert "ready: 3 shards at sqlite:" in said


def test_init_keeps_the_layout(postman: Postman) -> None:
    layout = Layout.of(5).aim(7, now=1.0)
    _change(postman.folder / "postman.db", layout)
    postman("init")

    assert _layout(postman.folder / "postman.db") == layout


def test_init_makes_no_layout(postman: Postman) -> None:
    """Until somebody changes the shards, all processes go by their settings."""
    postman("init")

    assert _layout(postman.folder / "postman.db") is None


def test_the_default_is_a_database_in_the_current_folder(postman: Postman) -> None:
    ran = postman("publish", "-", stdin=orjson.dumps(mail("a")), POSTMAN_QUEUE="", POSTMAN_LEDGER="")

    assert ran.status == 0
    assert (postman.folder / ".postman" / "postman.db").exists()


def test_lists_providers_after_checking_them_and_shows_no_key(postman: Postman) -> None:
    (postman.folder / "providers.toml").write_text(_DOCUMENT)

    read, lines = postman("providers", "list"), postman("providers", "list", "--json")

    assert (read.status, lines.status) == (0, 0)
    assert [line["name"] for line in lines.lines] == ["first", "second", "retired"]
    assert [line["enabled"] for line in lines.lines] == [True, True, False]
    assert lines.lines[0]["weight"] == 3
    assert "env:SENDGRID_API_KEY" in read.out
    for secret in ("SG.sandbox", "key-sandbox", "hunter2"):
        assert secret not in read.out + read.err + lines.out + lines.err


def test_every_command_explains_itself(postman: Postman) -> None:
    commands = (
        "init",
        "publish",
        "worker",
        "show",
        "status",
        "dead",
        "providers",
        "suppressions",
        "serve",
        "proxy",
        "functions",
        "sandbox",
    )
    whole = postman("--help")
    assert whole.status == 0
    for command in commands:
        assert command in whole.out
        ran = postman(command, "--help")
        assert (ran.status, ran.err) == (0, ""), command
        assert "Usage: postman " + command in ran.out


@pytest.mark.parametrize("command", ["list", "show", "replay", "drop"])
def test_every_command_for_dead_letters_explains_itself(postman: Postman, command: str) -> None:
    assert "--json" in postman("dead", command, "--help").out


def test_a_port_in_use_is_named(postman: Postman) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = postman("sandbox", "--port", port, "--sendgrid-port", "0", "--mailgun-port", "0")

    assert (ran.status, ran.out) == (2, "")
    assert f"port {port} on 127.0.0.1" in ran.err
    assert "already in use" in ran.err


def test_the_sandbox_writes_a_document_that_a_worker_can_use(postman: Postman) -> None:
    ports = ("--port", "0", "--sendgrid-port", "0", "--mailgun-port", "0")
    postman("publish", "-", stdin=orjson.dumps(mail("a")))
    with postman.start("sandbox", "--json", "--providers", "providers.toml", *ports) as process:
        urls = orjson.loads(wait_until_blocking(process.out.read_text, within=20.0, what="the sandbox's addresses"))
        sandbox = SandboxProcess(urls)
        with postman.working():
            sandbox.wait_for(["a"], within=10.0)
        sandbox.close()
        process.signal(signal.SIGTERM)
        assert process.ended(within=5.0) == 0


def test_faults_are_set_cleared_and_mails_listed_from_the_command_line(
    postman: Postman, sandbox: SandboxProcess
) -> None:
    url = ("--url", sandbox.urls["url"])

    assert "down" in postman("sandbox", "fault", "sendgrid", "down", *url).out
    assert _status_of_a_send(sandbox) == 503
    assert postman("sandbox", "clear", *url).status == 0
    assert _status_of_a_send(sandbox) == 202
    assert postman("sandbox", "mails", "--json", *url).lines[0]["total"] == 1
    wrong = postman("sandbox", "fault", "sendgrid", "sleepy", *url)
    assert (wrong.status, wrong.out) == (2, "")
    assert "kind: must be one of" in wrong.err


def _change(path: Path, layout: Layout) -> None:
    async def change() -> None:
        async with aclosing(open_layouts(str(path), Cluster(SystemClock()))) as layouts:
            await layouts.change(layout)

    asyncio.run(change())


def _layout(path: Path) -> Layout | None:
    async def read() -> Layout | None:
        async with aclosing(open_layouts(str(path), Cluster(SystemClock()))) as layouts:
            return await layouts.read()

    return asyncio.run(read())


def _status_of_a_send(sandbox: SandboxProcess) -> int:
    body = {
        "personalizations": [{"to": [{"email": "ann@example.com"}], "custom_args": {"mail_id": "m"}}],
        "from": {"email": "shop@example.org"},
        "subject": "Receipt",
        "content": [{"type": "text/plain", "value": "Thanks"}],
    }
    url = f"{sandbox.urls['sendgrid_url']}/v3/mail/send"
    return httpx.post(url, json=body, headers={"Authorization": "Bearer SG.sandbox"}, trust_env=False).status_code
