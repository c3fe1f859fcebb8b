"""`postman shards`, with a worker and a sandbox around it."""

import re
import signal
import time

import pytest

from postman.core.shards import shard_for
from postman.testing.waiting import wait_until_blocking
from tests.contract.cli.commands import Postman, SandboxProcess, mail, write_lines

_FAST = {"POSTMAN_HEALTH_WINDOW": "1"}
"""Workers report every second, so that commands see soon that they follow."""


@pytest.fixture
def postman(postman: Postman, sandbox: SandboxProcess) -> Postman:
    postman.use(sandbox)
    return postman.with_settings(_FAST)


def _ids(shard: int, count: int, begin: str = "m") -> list[str]:
    """Return *count* ids of mails that go into *shard* of four."""
    found = (f"{begin}-{number}" for number in range(10_000))
    return [mail_id for mail_id in found if shard_for(mail_id, 4) == shard][:count]


def _publish(postman: Postman, ids: list[str], **changes: object) -> list[dict[str, object]]:
    ran = postman("publish", write_lines(postman.folder / "m.jsonl", [mail(each, **changes) for each in ids]))
    assert ran.status == 0, ran.err
    return ran.lines


def _wait_for_report(postman: Postman) -> None:
    def has_reported() -> bool:
        [shown] = postman("shards", "list", "--json").lines
        return bool(shown["workers"])

    wait_until_blocking(has_reported, within=5.0, every=0.2, what="a worker's report")


def test_before_any_change_the_shards_are_those_of_the_settings(postman: Postman) -> None:
    _publish(postman, _ids(2, 3))

    [shown] = postman("shards", "list", "--json").lines
    read = postman("shards", "list").out

    assert (shown["epoch"], shown["publish"], shown["consume"], shown["workers"]) == (0, 4, 4, 0)
    assert [(line["shard"], line["state"], line["depth"]) for line in shown["shards"]] == [
        (0, "open", 0),
        (1, "open", 0),
        (2, "open", 3),
        (3, "open", 0),
    ]
    assert [line["backlog"]["count"] for line in shown["shards"]] == [0, 0, 3, 0]
    assert 0.0 < shown["shards"][2]["backlog"]["oldest_age"] < 60.0
    assert re.search(r"^2 +open +3 +\d+ s +0", read, re.MULTILINE), "the oldest mail's age stands beside the number"
    assert "epoch 0: nobody changed the settings' number; producers fill 4 shards, workers read 4" in read
    assert "no worker reports" in read


def test_a_pause_stops_the_mails_of_that_shard_alone_until_it_is_resumed(
    postman: Postman, sandbox: SandboxProcess
) -> None:
    paused, others = _ids(2, 5), _ids(0, 5) + _ids(3, 5)
    assert postman("init").status == 0
    with postman.working():
        _wait_for_report(postman)
        ran = postman("shards", "pause", "2")
        assert (ran.status, ran.out) == (0, "epoch 1: shard 2 is paused\n1 workers follow\n"), ran.err
        _publish(postman, paused + others)
        sandbox.wait_for(others, within=10.0)
        postman.wait_until_sent(others, within=5.0)
        assert sorted(sandbox.accepted()) == sorted(others)
        [shown] = postman("shards", "list", "--json").lines
        assert [(line["state"], line["depth"]) for line in shown["shards"]][2] == ("paused", 5)

        ran = postman("shards", "resume", "2")
        assert (ran.status, ran.out) == (0, "epoch 2: shard 2 is open\n1 workers follow\n")
        sandbox.wait_for(paused, within=10.0)
    assert sorted(sandbox.accepted()) == sorted(paused + others)


def test_the_list_shows_what_workers_hold_and_when_shards_brought_mails(
    postman: Postman, sandbox: SandboxProcess
) -> None:
    sandbox.fail("slow", seconds=4.0)
    began = time.time()
    _publish(postman, _ids(1, 3))
    with postman.working():
        wait_until_blocking(lambda: _held(postman) == [0, 3, 0, 0], within=4.0, every=0.2, what="three mails in hand")
        [shown] = postman("shards", "list", "--json").lines
    assert shown["workers"] == 1
    assert shown["late"] == {}
    assert began <= shown["shards"][1]["pulled_at"] <= time.time()
    assert shown["shards"][0]["pulled_at"] is None


def _held(postman: Postman) -> list[int]:
    [shown] = postman("shards", "list", "--json").lines
    return [line["held"] for line in shown["shards"]]


@pytest.mark.slow
def test_a_drain_empties_a_shard_and_its_mails_go_elsewhere_meanwhile(
    postman: Postman, sandbox: SandboxProcess
) -> None:
    ids, later = _ids(1, 10), _ids(1, 10, begin="later")
    _publish(postman, ids)
    with postman.working():
        _wait_for_report(postman)
        ran = postman("shards", "drain", "1", "--patience", "2")
        assert ran.status == 0, ran.err
        assert ran.out.splitlines()[-1] == "empty: 1"
        sandbox.wait_for(ids, within=5.0)

        assert all(line["shard"] != 1 for line in _publish(postman, later))
        sandbox.wait_for(later, within=10.0)
        [shown] = postman("shards", "list", "--json").lines
        assert [line["state"] for line in shown["shards"]] == ["open", "draining", "open", "open"]


@pytest.mark.slow
def test_a_drain_that_nobody_carries_out_waits_and_can_be_interrupted(postman: Postman) -> None:
    _publish(postman, _ids(1, 2))
    with postman.start("shards", "drain", "1", "--patience", "0") as draining:
        wait_until_blocking(
            lambda: "2 mails lie in shard 1, and no worker reports" in draining.err.read_text(),
            within=15.0,
            what="the reason",
        )
        draining.signal(signal.SIGINT)
        assert draining.ended(within=5.0) == 130
    assert "interrupted; what was changed stays, and `postman shards drain` can be run again" in (
        draining.err.read_text()
    )


def test_a_program_reads_what_was_done_and_waited_for_line_by_line(postman: Postman) -> None:
    assert postman("init").status == 0
    paused = postman("shards", "pause", "0", "1", "--json").lines
    postman("shards", "resume", "0", "1", "--no-wait")
    drained = postman("shards", "drain", "2", "--patience", "0.1", "--json").lines

    assert paused == [
        {"epoch": 1, "shard": 0, "state": "paused"},
        {"epoch": 1, "shard": 1, "state": "paused"},
        {"epoch": 1, "followers": 0},
    ]
    assert [line for line in drained if "waits" not in line] == [
        {"epoch": 3, "shard": 2, "state": "draining"},
        {"epoch": 3, "followers": 0},
        {"epoch": 3, "empty": [2]},
    ]


def test_several_shards_change_at_once_or_not_at_all(postman: Postman) -> None:
    assert (
        postman("shards", "pause", "0", "3", "--no-wait").out
        == "epoch 1: shard 0 is paused\nepoch 1: shard 3 is paused\n"
    )
    ran = postman("shards", "resume", "0", "4", "--no-wait")

    assert (ran.status, ran.out) == (1, "")
    assert "there is no shard 4: they are numbered from 0 to 3" in ran.err
    [shown] = postman("shards", "list", "--json").lines
    assert [line["state"] for line in shown["shards"]] == ["paused", "open", "open", "paused"]
    assert shown["epoch"] == 1


def test_what_is_so_already_is_no_change(postman: Postman) -> None:
    for _ in range(2):
        ran = postman("shards", "pause", "1", "--no-wait")
        assert (ran.status, ran.out) == (0, "epoch 1: shard 1 is paused\n")


@pytest.mark.parametrize(
    ("before", "command", "reason"),
    [
        ((), ("pause", "4"), "there is no shard 4: they are numbered from 0 to 3"),
        ((), ("drain", "0", "1", "2", "3"), "no shard that takes mails would be left without 0, 1, 2, 3"),
        (("pause", "2"), ("drain", "2"), "shard 2 is paused, so nobody would empty it: resume it first"),
    ],
)
def test_what_would_be_unsafe_is_refused_with_the_reason(
    postman: Postman, before: tuple[str, ...], command: tuple[str, ...], reason: str
) -> None:
    if before:
        assert postman("shards", *before, "--no-wait").status == 0
    ran = postman("shards", *command, "--no-wait")

    assert (ran.status, ran.out) == (1, "")
    assert reason in ran.err


def test_a_ledger_without_a_layout_is_wrong_use(postman: Postman) -> None:
    for command in (("pause", "1"), ("resume", "1"), ("drain", "1")):
        ran = postman("shards", *command, POSTMAN_LEDGER="memory:")
        assert (ran.status, ran.out) == (2, "")
        assert "POSTMAN_LEDGER: memory: keeps no layout that others could read" in ran.err
    assert postman("shards", "list", POSTMAN_LEDGER="memory:").status == 0


def test_workers_that_follow_an_older_epoch_are_named(postman: Postman) -> None:
    assert postman("init").status == 0
    with postman.working() as worker:
        _wait_for_report(postman)
        worker.signal(signal.SIGSTOP)
        try:
            assert postman("shards", "pause", "1", "--no-wait").status == 0
            [shown] = postman("shards", "list", "--json").lines
            read = postman("shards", "list").out
        finally:
            worker.signal(signal.SIGCONT)
    [(late, epoch)] = shown["late"].items()
    assert epoch == 0
    assert f"1 of 1 workers follow an older epoch: {late} (epoch 0)" in read


def test_replay_sends_back_the_dead_letters_of_these_shards_only(postman: Postman, sandbox: SandboxProcess) -> None:
    chosen, other = _ids(1, 2) + _ids(2, 1), _ids(3, 2)
    sandbox.fail("status", status=400, only="send")
    _publish(postman, chosen + other)
    with postman.working():
        wait_until_blocking(lambda: len(postman.dead()) == 5, within=15.0, every=0.3, what="five dead letters")
        sandbox.recover()

        ran = postman("shards", "replay", "1", "2", "--yes", "--json")
        assert (ran.status, [line["published"] for line in ran.lines]) == (0, [2, 1])
        sandbox.wait_for(chosen, within=10.0)
    assert sorted(sandbox.accepted()) == sorted(chosen)
    assert {letter["id"] for letter in postman.dead()} == set(other)
    assert postman("shards", "replay", "3").status == 1, "nobody answered whether to"
