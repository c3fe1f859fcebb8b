"""How commands end when they are broken off, and what never reaches a terminal."""

import asyncio
import os
import pty
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from postman.adapters.clock import SystemClock
from postman.adapters.sqlite import open_shards
from postman.ports.opening import Cluster
from postman.ports.queue import Message
from postman.testing.waiting import wait_until_blocking
from tests.contract.cli.commands import COMMAND, Postman, Process, mail, write_lines

_EVIL = "\x1b[31mred\x1b[0m\x9b2J\u202eback\r\npostman: forged"


def _publish_raw(postman: Postman, *messages: Message, dead: bool = False) -> None:
    """Put messages into the first shard, or among its dead letters, past the producer."""

    async def publish() -> None:
        shards = open_shards(str(postman.folder / "postman.db"), Cluster(SystemClock(), shards=4))
        queue = shards.dead(0) if dead else shards.queue(0)
        for message in messages:
            await queue.publish(message)
        await shards.aclose()

    asyncio.run(publish())


def _evil_letter() -> Message:
    body = orjson.dumps(mail("evil", subject=_EVIL)).replace(b"\\u001b", b"\x1b")
    return Message(body, {"mail_id": _EVIL, "dead_reason": _EVIL, "dead_detail": _EVIL, "dead_at": "1e9"})


@pytest.mark.parametrize(
    "command", ["dead list", "dead list --json", "dead show {} --content", "dead show {} --content --json"]
)
def test_control_characters_of_strangers_are_never_printed(postman: Postman, command: str) -> None:
    _publish_raw(postman, _evil_letter(), dead=True)

    ran = postman(*(_EVIL if word == "{}" else word for word in command.split()))

    said = ran.out + ran.err
    assert "red" in said
    for char in "\x1b\x9b\u202e\r":
        assert char not in said
    assert "\npostman: forged" not in ran.out + ran.err


def test_control_characters_of_strangers_never_reach_a_terminal(postman: Postman) -> None:
    _publish_raw(postman, _evil_letter(), dead=True)

    shown = _at_a_terminal(postman, "dead", "list")

    assert b"red" in shown
    assert b"\x1b[31mred" not in shown
    assert "\x9b".encode() not in shown
    assert "\u202e".encode() not in shown


def test_ids_are_printed_whole_at_a_narrow_terminal_and_in_a_pipe(postman: Postman) -> None:
    mail_id = "x" * 128
    letter = Message(b"{}", {"mail_id": mail_id, "dead_reason": "refused", "dead_detail": "y" * 300})
    _publish_raw(postman, letter, dead=True)

    assert mail_id in postman("dead", "list").out
    assert _at_a_terminal(postman, "dead", "list").count(b"x") >= 128


def test_a_worker_at_a_terminal_logs_no_control_characters_of_strangers(postman: Postman) -> None:
    (postman.folder / "providers.toml").write_text(
        '[[provider]]\nname = "a"\nkind = "sendgrid"\napi_key = "env:SENDGRID_API_KEY"\n'
    )
    _publish_raw(postman, Message(b"", {"mail_id": _EVIL}))

    shown = _at_a_terminal(postman, "worker", until=b"dead_lettered")

    assert b"\x1b[31mred" not in shown
    assert "\x9b".encode() not in shown


def test_a_reader_that_leaves_early_does_not_keep_mails_from_being_published(postman: Postman) -> None:
    name = write_lines(postman.folder / "m.jsonl", (mail(f"m-{number}") for number in range(500)))

    piped = f"{shlex.join(COMMAND)} publish {name} | head -n 1"
    ran = _in_a_shell(postman, piped)

    assert (ran.returncode, ran.stderr) == (0, b"")
    assert len(ran.stdout.splitlines()) == 1
    assert _count_of_messages(postman) == 500


def test_a_reader_that_leaves_early_ends_a_listing_without_a_traceback(postman: Postman) -> None:
    letters = (Message(b"{}", {"mail_id": f"m-{number}", "dead_reason": "x" * 500}) for number in range(300))
    _publish_raw(postman, *letters, dead=True)

    for options in ("", "--json"):
        piped = f"{shlex.join(COMMAND)} dead list {options} | head -n 1"
        ran = _in_a_shell(postman, piped)
        assert ran.stderr == b""
        assert len(ran.stdout.splitlines()) == 1


def test_an_interrupt_ends_publishing_without_a_traceback_and_names_what_is_published(postman: Postman) -> None:
    (postman.folder / "m.jsonl").write_bytes(
        b"".join(orjson.dumps(mail(f"m-{number}")) + b"\n" for number in range(30_000))
    )
    with postman.start("publish", "m.jsonl") as publishing:
        wait_until_blocking(lambda: publishing.out.stat().st_size > 1_000, within=20.0, what="the first mails")
        publishing.signal(signal.SIGINT)
        status = publishing.ended(within=10.0)

    assert status == 130
    assert "Traceback" not in publishing.err.read_text()
    assert "interrupted" in publishing.err.read_text()
    printed = publishing.out.read_text().splitlines()
    assert len(printed) == _count_of_messages(postman) < 30_000


def test_a_second_interrupt_ends_publishing_at_once(postman: Postman) -> None:
    """The queue cannot be reached, and the first interrupt waits for the mail under way."""
    name = write_lines(postman.folder / "m.jsonl", [mail("a")])
    nowhere = {
        "POSTMAN_QUEUE": "pubsub:",
        "POSTMAN_PROJECT": "demo-postman",
        "PUBSUB_EMULATOR_HOST": f"127.0.0.1:{_closed_port()}",
    }
    with postman.with_settings(nowhere).start("publish", name) as publishing:
        publishing.wait_for("publish_failed")
        wait_until_blocking(lambda: _interrupted(publishing), within=2.0, every=0.2, what="the end")
        assert publishing.ended(within=1.0) == 130
    assert "Traceback" not in publishing.err.read_text()


def test_an_interrupt_while_standard_input_is_read_ends_without_a_traceback(postman: Postman) -> None:
    process = subprocess.Popen(
        [*COMMAND, "publish", "-"],
        cwd=postman.folder,
        env=postman.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        wait_until_blocking(lambda: _waits_for_input(process.pid), within=20.0, what="the command reading")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10.0)

    assert process.returncode == 130
    assert out == b""
    assert b"Traceback" not in err


def _interrupted(process: Process) -> bool:
    """Interrupt it once more; return whether it had ended already."""
    process.signal(signal.SIGINT)
    return not process.is_running


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        port: int = closed_soon.getsockname()[1]
        return port


def _in_a_shell(postman: Postman, line: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=postman.folder,
        env=postman.environ,
        capture_output=True,
        timeout=30,
        check=False,
    )


def _waits_for_input(pid: int) -> bool:
    """Whether it has opened the spool into which it copies its standard input, or sleeps reading a pipe."""
    return "pipe_read" in Path(f"/proc/{pid}/wchan").read_text()


def _count_of_messages(postman: Postman) -> int:
    async def count() -> int:
        shards = open_shards(str(postman.folder / "postman.db"), Cluster(SystemClock(), shards=4))
        total = 0
        for shard in range(4):
            while found := await shards.queue(shard).pull(max_deliveries=1_000, wait=0.0):
                total += len(found)
        await shards.aclose()
        return total

    return asyncio.run(count())


def _at_a_terminal(postman: Postman, *arguments: str, until: bytes | None = None) -> bytes:
    """Return what a terminal of 80 columns gets; with *until*, the command is killed once that was shown."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(postman.folder)
        os.execve(sys.executable, [*COMMAND, *arguments], {**postman.environ, "TERM": "xterm", "COLUMNS": "80"})
    shown = b""
    while piece := _read(terminal):
        shown += piece
        if until is not None and until in shown:
            os.kill(pid, signal.SIGKILL)
            until = None
    os.waitpid(pid, 0)
    os.close(terminal)
    return shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:
        return b""
