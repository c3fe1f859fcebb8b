"""The taster's child: it may die of a message, it is replaced, and none is left behind."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from postman import Address, Mail
from postman.adapters.clock import SystemClock
from postman.adapters.tasting import ChildTaster
from postman.core.message import Message
from postman.core.wire import message_for
from postman.testing.clock import FakeClock
from postman.testing.waiting import wait_until

DEADLY = "tests.unit.adapters.deadly_reading:deadly"
RENDERING = "tests.unit.adapters.deadly_reading:deadly_rendering"


def mail(mail_id: str = "fine", subject: str = "s") -> Mail:
    sender, to = Address(email="a@example.org"), (Address(email="b@example.org"),)
    return Mail(id=mail_id, from_=sender, to=to, subject=subject, text="t")


def message(mail_id: str = "fine", subject: str = "s") -> Message:
    return message_for(mail(mail_id, subject))


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


@pytest.fixture
async def taster() -> AsyncIterator[ChildTaster]:
    taster = ChildTaster(SystemClock(), reading=DEADLY, renderings=[RENDERING], limit=1)
    yield taster
    await taster.aclose()


async def test_no_child_is_made_before_it_is_needed() -> None:
    assert ChildTaster(SystemClock()).pid is None


async def test_harmless_messages_are_tasted_by_one_child(taster: ChildTaster) -> None:
    assert await taster.taste(message("a")) == ""
    pid = taster.pid
    tasted = await asyncio.gather(*(taster.taste(message(f"m-{number}")) for number in range(20)))

    assert set(tasted) == {""}
    assert taster.pid == pid


@pytest.mark.parametrize(
    "bad",
    [Message(b""), Message(b"\xff" * 1_000, {"schema": "1"}), Message(b"[" * 100_000, {"schema": "1", "x": "\ud800"})],
    ids=["empty", "no text", "deep"],
)
async def test_what_is_merely_no_mail_is_harmless(taster: ChildTaster, bad: Message) -> None:
    """The worker finds that out for itself, and says it better."""
    assert await taster.taste(bad) == ""
    assert taster.pid is not None


@pytest.mark.parametrize(
    ("mail_id", "harm"),
    [
        ("killed", "reading it ended the process: signal 9"),
        ("exits", "reading it ended the process: exit 3"),
        ("sleeps", "reading it took more than 1 s"),
        ("raises", "reading it fails (RecursionError)"),
        ("eats", "reading it fails (MemoryError)"),
    ],
)
async def test_a_harmful_message_is_told_with_its_harm(taster: ChildTaster, mail_id: str, harm: str) -> None:
    assert await taster.taste(message(mail_id)) == harm


async def test_a_message_that_keeps_a_processor_busy_is_stopped_before_its_time_is_over() -> None:
    """By time at work, which a busy machine does not use up; there is no second try then."""
    taster = ChildTaster(SystemClock(), reading=DEADLY, limit=60, work=1)
    harm = await taster.taste(message("spins"))
    await taster.aclose()

    assert harm == "reading it took more than 1 s of a processor"


async def test_a_child_that_was_ended_by_others_harms_no_message(taster: ChildTaster, tmp_path: Path) -> None:
    assert await taster.taste(message(f"killed-once:{tmp_path / 'mark'}")) == ""
    assert (tmp_path / "mark").exists()


async def test_a_child_that_died_while_it_was_idle_is_replaced(taster: ChildTaster) -> None:
    await taster.taste(message())
    first = taster.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)

    assert await taster.taste(message()) == ""
    assert taster.pid not in (None, first)


async def test_rendering_a_mail_for_a_provider_is_tried_too(taster: ChildTaster) -> None:
    """One that a provider cannot take is no harm; one that ends the process is."""
    assert await taster.taste(message(subject="killed")) == "reading it ended the process: signal 9"
    assert await taster.taste(message(subject="ü")) == ""


async def test_what_is_printed_while_a_message_is_read_is_no_answer(taster: ChildTaster) -> None:
    assert await taster.taste(message("prints")) == ""
    assert await taster.taste(message("exits")) == "reading it ended the process: exit 3"


async def test_who_waits_too_long_for_the_child_goes_untasted(tmp_path: Path) -> None:
    taster = ChildTaster(SystemClock(), reading=DEADLY, limit=1, patience=0.2)
    sleeper = asyncio.ensure_future(taster.taste(message(f"sleeps:{tmp_path / 'mark'}")))
    await wait_until((tmp_path / "mark").exists, within=20.0)
    with capture_logs() as logs:
        assert await taster.taste(message("exits")) == ""

    assert [(each["event"], each["mail_id"]) for each in logs] == [("not_tasted", "exits")]
    assert await sleeper == "reading it took more than 1 s"
    await taster.aclose()


async def test_where_no_child_can_be_started_mails_go_untasted_and_it_is_not_tried_all_the_time() -> None:
    clock = FakeClock(auto=False)
    taster = ChildTaster(clock, reading="no.such.module:here")
    with capture_logs() as logs:
        assert await taster.taste(message("exits")) == ""
        assert await taster.taste(message("exits")) == ""
    assert [each["event"] for each in logs] == ["not_tasted", "not_tasted"]

    taster._names = (DEADLY,)
    await clock.advance(61.0)
    assert await taster.taste(message("exits")) == "reading it ended the process: exit 3"
    await taster.aclose()


async def test_an_idle_child_is_let_go_and_made_anew_when_it_is_needed() -> None:
    clock = FakeClock(auto=False)
    taster = ChildTaster(clock, reading=DEADLY, idle=60.0)
    await taster.taste(message())
    first = taster.pid
    assert first is not None
    await clock.advance(59.0)
    assert taster.pid == first
    await taster.taste(message())
    await clock.advance(59.0)
    assert taster.pid == first
    await clock.advance(2.0)
    await wait_until(lambda: not is_running(first), within=5.0)

    assert await taster.taste(message()) == ""
    assert taster.pid not in (None, first)
    await taster.aclose()


async def test_closing_ends_the_child_at_once_and_twice_is_fine(taster: ChildTaster) -> None:
    await taster.taste(message())
    pid = taster.pid
    assert pid is not None
    await taster.aclose()
    await taster.aclose()

    assert not is_running(pid)
    assert taster.pid is None


async def test_a_tasting_that_is_cancelled_leaves_no_answer_for_the_next_message(
    taster: ChildTaster, tmp_path: Path
) -> None:
    await taster.taste(message())
    first = taster.pid
    assert first is not None
    tasting = asyncio.ensure_future(taster.taste(message(f"sleeps:{tmp_path / 'mark'}")))
    await wait_until((tmp_path / "mark").exists, within=5.0)
    tasting.cancel()
    await asyncio.gather(tasting, return_exceptions=True)

    assert tasting.cancelled()
    assert not is_running(first)
    assert await taster.taste(message("exits")) == "reading it ended the process: exit 3"


async def test_the_child_sees_no_keys_and_ignores_its_workers_signals(
    taster: ChildTaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENDGRID_API_KEY", "SG.canary")
    await taster.taste(message())
    pid = taster.pid
    assert pid is not None
    assert b"canary" not in environment_of(pid)
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)

    await taster.taste(message())
    assert taster.pid == pid


_WORKER = """
import asyncio, sys, time
from postman.adapters.clock import SystemClock
from postman.adapters.tasting import ChildTaster
from tests.unit.adapters.test_tasting import DEADLY, message

async def main(mail_id):
    taster = ChildTaster(SystemClock(), reading=DEADLY, limit=3)
    await taster.taste(message())
    print(taster.pid, flush=True)
    if mail_id:
        await taster.taste(message(mail_id))
    await asyncio.sleep(60)

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "busy"])
async def test_a_killed_worker_leaves_no_child_behind(is_busy: bool, tmp_path: Path) -> None:
    """An idle one sees the end of its pipe, a busy one comes to the end of its time."""
    environ: dict[str, Any] = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PATH": os.environ["PATH"]}
    mark = tmp_path / "mark"
    doing = f"sleeps:{mark}" if is_busy else ""
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _WORKER, doing, stdout=asyncio.subprocess.PIPE, env=environ
    )
    assert worker.stdout is not None
    child = int(await asyncio.wait_for(worker.stdout.readline(), 20.0))
    assert is_running(child)
    if is_busy:
        await wait_until(mark.exists, within=5.0)
    worker.kill()
    await worker.wait()

    await wait_until(lambda: not is_running(child), within=6.0)
