"""Whatever is brought in, by whatever door: it is refused by name, nobody's secret is told, and nothing else is harmed.

All of it happens in one day of one installation, with a good mail published before, between and after.
"""

import asyncio
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

import orjson
import pytest

from postman.adapters.clock import SystemClock
from postman.adapters.sqlite import open_ledger, open_shards
from postman.ports.opening import Cluster
from postman.ports.queue import Message, ShardMap
from postman.runtime.deadletters import Choice, DeadLetter, DeadLetters
from postman.testing.waiting import wait_until_blocking
from tests.contract.bad_mails import BAD_MAILS, BadMail
from tests.contract.bad_runs import BAD_RUNS, BadRun
from tests.contract.cli.commands import CLEAN, Postman, Process, Ran, SandboxProcess, mail, running_sandbox, write_lines
from tests.contract.cli.forks import Forks

_KEY: Final = "SG.CANARY-0123456789abcdef"
_CANARY: Final = {"to": [{"email": "canary@example.org", "name": "Canary Bird"}], "text": "canary in the text"}
_ADDRESS: Final = re.compile(r"[\w.+-]+@[\w-]+\.\w+")
_MESSAGE_ID: Final = re.compile(r"postman\.[0-9a-f]{32}@example\.com")
_AT_ONCE: Final = 20
"""As many problems as one call of `publish` names."""
_GOOD: Final = ("good-before", "good-between", "good-within", "good-after")


@dataclass(frozen=True, slots=True)
class _Raw:
    """A message that somebody put into a worker's queue, past the producer."""

    name: str
    message: Message
    reason: str
    says: tuple[str, ...]
    """Pieces of the detail."""


def _attributes(mail_id: str, **changes: str | None) -> dict[str, str]:
    given = {"mail_id": mail_id, "schema": "1", **changes}
    return {name: value for name, value in given.items() if value is not None}


def _raw_mail(number: int, bad: BadMail) -> _Raw:
    return _Raw(bad.name, Message(bad.data, _attributes(f"raw-{number}")), "malformed", (bad.where, bad.why))


def _valid(mail_id: str, **changes: object) -> bytes:
    return orjson.dumps(mail(mail_id, **_CANARY | changes))


_RAW: Final = (
    *(_raw_mail(number, bad) for number, bad in enumerate(BAD_MAILS) if bad.in_worker),
    _Raw("schema 99", Message(_valid("s-99"), _attributes("s-99", schema="99")), "malformed", ("attributes.schema",)),
    _Raw("no schema", Message(_valid("s-0"), _attributes("s-0", schema=None)), "malformed", ("attributes.schema",)),
    _Raw("no id outside", Message(_valid("o-1"), {"schema": "1"}), "malformed", ("attributes.mail_id",)),
    _Raw("no attributes", Message(_valid("n-1")), "malformed", ("attributes.schema: is missing",)),
    _Raw("nothing at all", Message(b""), "malformed", ("attributes.schema: is missing",)),
    _Raw("another id", Message(_valid("i-1"), _attributes("i-2")), "malformed", ("is not the id of the mail within",)),
    _Raw(
        "no id within",
        Message(_valid("w-1")[:1] + _valid("w-1")[12:], _attributes("w-1")),
        "malformed",
        ("id: is missing",),
    ),
    _Raw("hostile id", Message(b"{}", _attributes("\x1b[2J\n" + "x" * 900)), "malformed", ("id: is missing",)),
    _Raw("9 MB of numbers", Message(b"[" + b"1," * 4_500_000 + b"1]", _attributes("n-9")), "malformed", ("20000",)),
    _Raw("id of a good mail", Message(b"{broken", _attributes("good-after")), "malformed", ("is not JSON",)),
    _Raw("expired", Message(_valid("e-1", expires_at="2026-01-01T00:00:00Z"), _attributes("e-1")), "expired", ()),
    _Raw(
        "other content", Message(_valid("good-before", text="x"), _attributes("good-before")), "conflict", ("content",)
    ),
)


@dataclass(frozen=True, slots=True)
class _Day:
    """What was seen."""

    files: Mapping[str, Ran]
    """Of each bad mail, the call that had it in one of its files."""
    runs: Mapping[str, Ran]
    letters: Sequence[DeadLetter]
    accepted: Sequence[str]
    said: str
    """All that any process wrote."""
    without_queue: tuple[int, str]
    without_ledger: Ran


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Day]:
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("day")
        sandbox = stack.enter_context(running_sandbox(tmp_path_factory.mktemp("sandbox"), "--sendgrid-key", _KEY))
        forks = stack.enter_context(Forks(CLEAN))
        postman = Postman(folder, forks, SENDGRID_API_KEY=_KEY, SPACED_KEY=f"{_KEY} {_KEY}")
        postman.use(sandbox)
        offline = stack.enter_context(_start_without_queue(postman))
        yield _spend(postman, sandbox, offline)


def _spend(postman: Postman, sandbox: SandboxProcess, offline: Process) -> _Day:
    _publish(postman, "good-before")
    files = _bring_files(postman)
    _publish(postman, "good-between")
    runs = _bring_runs(postman)
    half = len(_RAW) // 2
    _bring_raw(postman, _RAW[:half])
    _publish(postman, "good-within")
    _bring_raw(postman, _RAW[half:])
    with postman.working() as worker:
        _publish(postman, "good-after")
        wait_until_blocking(partial(_has_dealt_with, worker, len(_RAW)), within=30.0, what="all dead letters")
        sandbox.wait_for(_GOOD, within=10.0)
    listed = [postman("dead", "list"), postman("dead", "list", "--json"), postman("show", "good-after")]
    letters = asyncio.run(_letters(postman))
    without_ledger = postman.with_settings(_cut_off("LEDGER", "firestore:", "FIRESTORE_EMULATOR_HOST"))("show", "x")
    status = offline.ended(within=30.0)
    said = "".join(file.read_text() for file in postman.folder.iterdir() if file.suffix in (".out", ".err"))
    assert all(ran.out in said for ran in listed)
    return _Day(files, runs, letters, sandbox.accepted(), said, (status, offline.err.read_text()), without_ledger)


def _publish(postman: Postman, mail_id: str) -> None:
    name = write_lines(postman.folder / "good.jsonl", [mail(mail_id, **_CANARY)])
    assert postman("publish", name).status == 0


def _bring_files(postman: Postman) -> dict[str, Ran]:
    """Bring every bad mail in a file of its own, as the second line after a good one."""
    files: dict[str, Ran] = {}
    for first in range(0, len(BAD_MAILS), _AT_ONCE):
        batch = dict(enumerate(BAD_MAILS[first : first + _AT_ONCE], first))
        for number, bad in batch.items():
            good = orjson.dumps(mail(f"fine-{number}", **_CANARY))
            (postman.folder / f"bad-{number}.jsonl").write_bytes(good + b"\n" + (bad.data.strip() or b"0") + b"\n")
        ran = postman("publish", *(f"bad-{number}.jsonl" for number in batch))
        files |= dict.fromkeys((bad.name for bad in batch.values()), ran)
    return files


def _bring_runs(postman: Postman) -> dict[str, Ran]:
    (postman.folder / "folder.jsonl").mkdir()
    (postman.folder / "empty.jsonl").touch()
    write_lines(postman.folder / "good.jsonl", [mail("never-1", **_CANARY)])
    write_lines(postman.folder / "again.jsonl", [mail("never-1", **_CANARY)])
    right = (postman.folder / "providers.toml").read_text()
    runs = {bad.name: _bring_run(postman, bad) for bad in BAD_RUNS}
    (postman.folder / "providers.toml").write_text(right)
    return runs


def _bring_run(postman: Postman, bad: BadRun) -> Ran:
    if bad.document is not None:
        document = bad.document if isinstance(bad.document, bytes) else bad.document.encode()
        (postman.folder / "providers.toml").write_bytes(document)
    return postman.with_settings(bad.settings)(*bad.arguments, stdin=bad.stdin)


def _bring_raw(postman: Postman, raw: Sequence[_Raw]) -> None:
    async def publish() -> None:
        shards = _shards(postman)
        for number, each in enumerate(raw):
            await shards.queue(number % 4).publish(each.message)
        await shards.aclose()

    asyncio.run(publish())


async def _letters(postman: Postman) -> Sequence[DeadLetter]:
    shards = _shards(postman)
    ledger = open_ledger(str(postman.folder / "postman.db"), Cluster(SystemClock(), shards=4))
    letters = await DeadLetters(shards=shards, ledger=ledger).find(Choice())
    await shards.aclose()
    await ledger.aclose()
    return letters


def _shards(postman: Postman) -> ShardMap:
    return open_shards(str(postman.folder / "postman.db"), Cluster(SystemClock(), shards=4))


def _has_dealt_with(worker: Process, count: int) -> bool:
    return len(worker.events("dead_lettered")) >= count


def _start_without_queue(postman: Postman) -> Process:
    name = write_lines(postman.folder / "offline.jsonl", [mail("offline", **_CANARY)])
    return postman.start("publish", name, **_cut_off("QUEUE", "pubsub:", "PUBSUB_EMULATOR_HOST"))


def _cut_off(setting: str, url: str, variable: str) -> dict[str, str]:
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        port = closed_soon.getsockname()[1]
    return {f"POSTMAN_{setting}": url, "POSTMAN_PROJECT": "demo-postman", variable: f"127.0.0.1:{port}"}


@pytest.mark.parametrize(("number", "bad"), list(enumerate(BAD_MAILS)), ids=[bad.name for bad in BAD_MAILS])
def test_a_bad_mail_in_a_file_is_named_with_file_line_and_field(day: _Day, number: int, bad: BadMail) -> None:
    ran = day.files[bad.name]

    assert (ran.status, ran.out) == (2, "")
    assert ran.complaints[-1] == "nothing was published"
    [problem] = [line for line in ran.complaints if line.startswith(f"bad-{number}.jsonl:")]
    if bad.data.strip():
        assert problem.startswith(f"bad-{number}.jsonl:2: {bad.where}")
        assert bad.why in problem


@pytest.mark.parametrize("raw", _RAW, ids=lambda raw: raw.name)
def test_a_bad_message_in_a_queue_becomes_one_dead_letter_with_its_bytes_and_a_reason(day: _Day, raw: _Raw) -> None:
    found = [letter for letter in day.letters if _is_of(letter, raw)]

    assert len(found) == 1
    [letter] = found
    assert letter.reason == raw.reason
    assert len(letter.copies) == 1
    for piece in raw.says:
        assert piece in letter.detail
    for name, value in raw.message.attributes.items():
        assert letter.message.attributes[name] == value


@pytest.mark.parametrize("bad", BAD_RUNS, ids=lambda bad: bad.name)
def test_a_wrong_setting_or_use_is_refused_by_name(day: _Day, bad: BadRun) -> None:
    ran = day.runs[bad.name]

    assert ran.status == bad.status
    assert ran.out == ""
    assert bad.says in " ".join(ran.err.split())
    assert "Traceback" not in ran.err


def test_no_name_stands_twice_in_the_tables() -> None:
    for names in ([bad.name for bad in BAD_MAILS], [bad.name for bad in BAD_RUNS], [raw.name for raw in _RAW]):
        assert len(set(names)) == len(names)


def test_publishing_without_a_queue_says_so_at_once_and_fails(day: _Day) -> None:
    status, said = day.without_queue
    first, *_, last = said.splitlines()

    assert status == 1
    assert orjson.loads(first)["event"] == "publish_failed"
    assert "cannot be reached" in orjson.loads(first)["reason"]
    assert last == "postman: 1 of 1 mails may not have been published; publish the same ids again"


def test_asking_without_a_ledger_says_so_and_fails(day: _Day) -> None:
    assert day.without_ledger.status == 1
    assert day.without_ledger.out == ""
    assert "cannot be reached" in day.without_ledger.err


def test_good_mails_are_delivered_once_and_nothing_else_is(day: _Day) -> None:
    assert sorted(day.accepted) == sorted(_GOOD)


def test_there_is_one_dead_letter_for_each_bad_message_and_no_other(day: _Day) -> None:
    assert len(day.letters) == len(_RAW)


def test_no_control_character_of_a_stranger_is_printed(day: _Day) -> None:
    assert [char for char in set(day.said) if not char.isprintable()] == ["\n"]


def test_no_secret_and_no_address_is_told(day: _Day) -> None:
    assert len(day.said) > 10_000
    assert "canary" not in day.said.lower()
    assert [found for found in _ADDRESS.findall(day.said) if not _MESSAGE_ID.fullmatch(found)] == []


def _is_of(letter: DeadLetter, raw: _Raw) -> bool:
    sent = raw.message.attributes
    return letter.message.data == raw.message.data and letter.mail_id == sent.get("mail_id", "")
