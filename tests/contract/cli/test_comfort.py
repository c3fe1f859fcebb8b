"""What makes the commands pleasant: progress, watching, completion, tables in a narrow terminal."""

import asyncio
import os
import pty
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from postman.adapters.clock import SystemClock
from postman.adapters.sqlite import open_shards
from postman.core.message import Message
from postman.ports.opening import Cluster
from postman.testing.waiting import wait_until_blocking
from tests.contract.cli.commands import COMMAND, Postman, mail, write_lines

PROVIDERS = """\
[[provider]]
name = "sendgrid"
kind = "sendgrid"
api_key = "env:SENDGRID_API_KEY"

[[provider]]
name = "mailgun"
kind = "mailgun"
domain = "mg.example.org"
api_key = "env:MAILGUN_API_KEY"
"""


@pytest.fixture
def postman(postman: Postman) -> Postman:
    (postman.folder / "providers.toml").write_text(PROVIDERS)
    return postman


async def _fill(path: Path, count: int, *, dead: bool) -> None:
    shards = open_shards(str(path), Cluster(SystemClock(), shards=4))
    await shards.ensure()
    queue = shards.dead(0) if dead else shards.queue(0)
    said = {"dead_reason": "conflict", "dead_detail": "another content"} if dead else {}
    await asyncio.gather(*(queue.publish(Message(b"x", {"mail_id": f"m-{n}", **said})) for n in range(count)))
    await shards.aclose()


@pytest.fixture
def dying(postman: Postman) -> Postman:
    """Thirty dead letters."""
    asyncio.run(_fill(postman.folder / "postman.db", 30, dead=True))
    return postman


def _lines(text: str) -> Sequence[dict[str, Any]]:
    return [orjson.loads(line) for line in text.splitlines()]


def at_terminal(postman: Postman, *arguments: str, columns: int) -> tuple[str, str]:
    """Return what a command prints, on stdout and on stderr, each of them a terminal."""
    ends = [pty.openpty() for _ in range(2)]
    environ = {**postman.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=postman.folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=ends[0][1],
        stderr=ends[1][1],
    )
    for _, given in ends:
        os.close(given)
    out, err = (_read(taken) for taken, _ in ends)
    assert process.wait(20) == 0, err
    return out, err


def _read(end: int) -> str:
    """Read until its other side is closed, which a terminal tells by an error."""
    with os.fdopen(end, "rb", buffering=0) as file:
        found = b""
        try:
            while part := file.read(65_536):
                found += part
        except OSError:
            pass
    return found.decode()


@pytest.mark.parametrize("act", ["replay", "drop"])
def test_json_progress_stands_on_stderr_and_only_where_it_is_asked_for(dying: Postman, act: str) -> None:
    silent = dying("dead", act, "m-1", "--yes", "--json")
    assert (silent.status, silent.err, len(silent.lines)) == (0, "", 1)
    told = dying("dead", act, "--all", "--yes", "--json", "--progress")

    assert (told.status, len(told.lines)) == (0, 1)
    first, *_, last = _lines(told.err)
    word = {"replay": "replaying", "drop": "dropping"}[act]
    assert (first["progress"], first["done"], first["total"], first["left"]) == (word, 0, 29, None)
    assert (last["done"], last["total"], last["left"]) == (29, 29, 0.0)


def test_piped_nothing_is_drawn(dying: Postman) -> None:
    assert dying("dead", "drop", "--all", "--yes").err == ""


def test_at_a_terminal_a_bar_tells_how_far_it_is(dying: Postman) -> None:
    out, err = at_terminal(dying, "dead", "drop", "--all", "--yes", columns=100)

    assert "30 removed" in out
    assert "dropping" in err
    assert "30/30" in err


def test_publishing_tells_its_progress_as_json_too(postman: Postman) -> None:
    file = write_lines(postman.folder / "m.jsonl", [mail(f"m-{number}") for number in range(20)])
    ran = postman("publish", file, "--json", "--progress")

    assert (ran.status, len(ran.lines)) == (0, 20)
    assert _lines(ran.err)[-1] | {"rate": 0} == {
        "progress": "publishing",
        "done": 20,
        "total": 20,
        "rate": 0,
        "left": 0.0,
    }


def test_draining_tells_how_many_mails_have_left(postman: Postman) -> None:
    asyncio.run(_fill(postman.folder / "postman.db", 3, dead=False))
    with postman.start("shards", "drain", "0", "--json", "--progress") as draining:
        wait_until_blocking(lambda: '"total":3' in draining.err.read_text(), within=10.0, what="progress")
        draining.signal(signal.SIGINT)
        assert draining.ended(within=10.0) == 130
    assert '{"progress":"draining","done":0,"total":3' in draining.err.read_text()


def test_lists_are_watched_until_somebody_ends_it(dying: Postman) -> None:
    with (
        dying.start("dead", "list", "--watch", "--json") as letters,
        dying.start("shards", "list", "--watch", "--json") as shards,
    ):
        wait_until_blocking(lambda: letters.out.read_text().endswith("\n"), within=10.0, what="a look")
        wait_until_blocking(lambda: shards.out.read_text().count("\n") >= 2, within=10.0, what="two looks")
        for watching in (letters, shards):
            watching.signal(signal.SIGINT)
            assert watching.ended(within=10.0) == 0
    assert _lines(letters.out.read_text())[0] == {"total": 30, "reasons": {"conflict": 30}, "problem": ""}
    assert len(_lines(shards.out.read_text())[0]["shards"]) == 4


def test_in_a_narrow_terminal_a_provider_is_shown_line_by_line(postman: Postman) -> None:
    narrow, _ = at_terminal(postman, "providers", "list", columns=40)

    lines = [line.strip() for line in narrow.replace("\x1b[2m", "").replace("\x1b[0m", "").splitlines()]
    assert any(line.startswith("weight") and line.endswith("1") for line in lines)
    assert any(line.startswith("key") and line.endswith("env:SENDGRID_API_KEY") for line in lines)
    assert all(len(line) <= 60 for line in lines)


class TestCompletion:
    @pytest.mark.parametrize(("shell", "says"), [("bash", "complete -o"), ("zsh", "#compdef postman")])
    def test_a_script_is_made_for_each_shell(self, postman: Postman, shell: str, says: str) -> None:
        ran = postman(_POSTMAN_COMPLETE=f"source_{shell}")

        assert says in ran.out
        assert "_POSTMAN_COMPLETE=complete_" in ran.out

    @pytest.mark.parametrize(
        ("words", "completed"),
        [
            ("postman providers weight s", ["sendgrid"]),
            ("postman providers breaker mailgun ", ["auto", "open", "closed"]),
            ("postman providers set mailgun ti", ["timeout="]),
            ("postman dead list --reason re", ["refused"]),
            ("postman shards pause ", ["0", "1", "2", "3"]),
            ("postman supp", ["suppressions"]),
        ],
    )
    def test_bash_completes_what_can_be_known(self, postman: Postman, words: str, completed: list[str]) -> None:
        place = str(len(words.split(" ")) - 1)
        ran = postman(_POSTMAN_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=place)

        assert (ran.out.split(), ran.err) == (completed, "")

    def test_zsh_completes_a_providers_name(self, postman: Postman) -> None:
        ran = postman(_POSTMAN_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="postman providers enable m")

        assert '"mailgun"' in ran.out
        assert '"sendgrid"' not in ran.out

    @pytest.mark.parametrize("wrong", [{"POSTMAN_PROVIDERS": "nowhere.toml"}, {"POSTMAN_SHARDS": "many"}])
    def test_where_nothing_can_be_known_it_is_silent(self, postman: Postman, wrong: dict[str, str]) -> None:
        words = {"COMP_WORDS": "postman providers weight s", "COMP_CWORD": "3"}
        ran = postman.with_settings({"_POSTMAN_COMPLETE": "complete_bash", **words, **wrong})()

        assert (ran.out.strip(), ran.err) == ("", "")
