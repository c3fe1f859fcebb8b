"""`postman reshard`, with a worker and a sandbox around it."""

import signal

import pytest

from postman.testing.waiting import wait_until_blocking
from tests.contract.cli.commands import Postman, SandboxProcess, mail, write_lines

_QUICK = ("--patience", "3", "--quiet", "10")


@pytest.fixture
def postman(postman: Postman, sandbox: SandboxProcess) -> Postman:
    postman.use(sandbox)
    return postman.with_settings({"POSTMAN_HEALTH_WINDOW": "1"})


def _publish(postman: Postman, begin: str, count: int) -> dict[str, int]:
    """Return the shard of each mail that was published."""
    mails = [mail(f"{begin}-{number}") for number in range(count)]
    ran = postman("publish", write_lines(postman.folder / "m.jsonl", mails))
    assert ran.status == 0, ran.err
    return {line["id"]: line["shard"] for line in ran.lines}


def _layout(postman: Postman) -> dict[str, int]:
    [shown] = postman("shards", "list", "--json").lines
    return {name: shown[name] for name in ("epoch", "publish", "consume", "target", "top")}


@pytest.mark.slow
def test_mails_are_delivered_once_while_the_shards_grow_and_shrink(postman: Postman, sandbox: SandboxProcess) -> None:
    assert postman("init").status == 0
    with postman.working():
        before = _publish(postman, "before", 40)
        grown = postman("reshard", "6", *_QUICK)
        assert grown.status == 0, grown.err
        between = _publish(postman, "between", 60)
        shrunk = postman("reshard", "3", *_QUICK, "--json")
        assert shrunk.status == 0, shrunk.err
        after = _publish(postman, "after", 40)
        sandbox.wait_for([*before, *between, *after], within=20.0)

    assert [set(shards.values()) for shards in (before, between, after)] == [
        set(range(4)),
        set(range(6)),
        set(range(3)),
    ]
    assert sorted(sandbox.accepted()) == sorted([*before, *between, *after])
    assert grown.out.splitlines() == [
        "epoch 1: 6 shards are wanted",
        "epoch 2: workers read 6 shards",
        "epoch 3: producers fill 6 shards",
        "epoch 4: 6 shards are in use",
        "6 shards are in use, epoch 4",
        "this layout counts now, whatever the settings say; for services that cannot read it, set POSTMAN_SHARDS=6",
    ]
    steps = [(line["epoch"], line["step"]) for line in shrunk.lines if "step" in line]
    assert steps == [
        (5, "3 shards are wanted"),
        (6, "producers fill 3 shards"),
        (7, "workers read 3 shards"),
        (8, "3 shards are in use"),
    ]
    assert shrunk.lines[-1] == {"epoch": 8, "done": 3, "settings": {"POSTMAN_SHARDS": 3}}
    assert _layout(postman) == {"epoch": 8, "publish": 3, "consume": 3, "target": 0, "top": 6}
    assert postman.dead() == []


@pytest.mark.slow
def test_interrupted_it_says_so_and_goes_on_when_it_is_run_again(postman: Postman) -> None:
    for number in (signal.SIGINT, signal.SIGKILL):
        with postman.start("reshard", "6", "--patience", "30") as resharding:
            wait_until_blocking(
                lambda: "waiting" in resharding.err.read_text(), within=15.0, what="something that is waited for"
            )
            resharding.signal(number)
            assert resharding.ended(within=5.0) == (130 if number == signal.SIGINT else -signal.SIGKILL)
        if number == signal.SIGINT:
            assert (
                "interrupted; what was changed stays, and `postman reshard 6` goes on from here"
                in resharding.err.read_text()
            )
            assert "Traceback" not in resharding.err.read_text()
    assert _layout(postman) == {"epoch": 2, "publish": 4, "consume": 6, "target": 6, "top": 6}

    ran = postman("reshard", "6", "--patience", "0")
    assert (ran.status, ran.out.splitlines()[0]) == (0, "epoch 3: producers fill 6 shards")


def test_a_change_under_way_to_another_number_is_refused_unless_it_is_to_be_turned(postman: Postman) -> None:
    with postman.start("reshard", "6", "--patience", "30") as resharding:
        wait_until_blocking(lambda: "epoch 2" in resharding.out.read_text(), within=15.0, what="the second step")
        resharding.signal(signal.SIGKILL)
        resharding.ended(within=5.0)

    ran = postman("reshard", "5")
    assert (ran.status, ran.out) == (1, "")
    assert "a change to 6 shards is under way (producers fill 4 shards, workers read 6)" in ran.err
    assert "let it end with `postman reshard 6`, or turn it with --instead" in ran.err
    assert "a change to 6 shards is under way: `postman reshard 6` goes on" in postman("shards", "list").out

    turned = postman("reshard", "4", "--instead", "--patience", "0")
    assert turned.status == 0, turned.err
    assert _layout(postman) == {"epoch": 5, "publish": 4, "consume": 4, "target": 0, "top": 6}
    assert "POSTMAN_SHARDS=" not in turned.out, "the settings say so too"


def test_a_shard_that_goes_is_waited_for_until_somebody_empties_it(postman: Postman, sandbox: SandboxProcess) -> None:
    shards = _publish(postman, "m", 40)
    with postman.start("reshard", "3", "--patience", "0", "--quiet", "10") as resharding:
        reason = f"{list(shards.values()).count(3)} mails lie in shard 3, and no worker reports"
        wait_until_blocking(lambda: reason in resharding.err.read_text(), within=15.0, what=reason)
        with postman.working():
            assert resharding.ended(within=25.0) == 0, resharding.err.read_text()
            sandbox.wait_for(shards, within=10.0)
    assert _layout(postman)["consume"] == 3


def test_another_hand_is_a_change_too(postman: Postman) -> None:
    ran = postman("reshard", "4", "--hand", "2", "--patience", "0")

    assert (ran.status, ran.out.splitlines()[0]) == (0, "epoch 1: 4 shards are wanted")
    assert "set POSTMAN_SHARD_HAND=2" in ran.out
    assert postman("shards", "list", "--json").lines[0]["hand"] == 2
    assert postman("reshard", "4", "--hand", "2").out.startswith("4 shards are in use, epoch 2\n")


@pytest.mark.parametrize(
    ("before", "command", "status", "reason"),
    [
        (
            ("shards", "pause", "3", "--no-wait"),
            ("3",),
            1,
            "shard 3 is paused, so nobody would empty it before it goes",
        ),
        (("shards", "drain", "0", "--no-wait"), ("1",), 1, "every shard that would be left is closed (0)"),
        ((), ("6", "--quiet", "9"), 2, "--quiet: a worker that died may still hold mails for 10 s"),
        ((), ("6", "--quiet", "inf"), 2, "--quiet: inf is no number of seconds"),
        ((), ("6", "--patience", "inf"), 2, "--patience: inf is no number of seconds"),
        ((), ("0",), 2, "Invalid value for 'N'"),
        ((), ("1025",), 2, "Invalid value for 'N'"),
    ],
)
def test_what_would_be_unsafe_is_refused_with_the_reason(
    postman: Postman, before: tuple[str, ...], command: tuple[str, ...], status: int, reason: str
) -> None:
    if before:
        assert postman(*before).status == 0
    epoch = _layout(postman)["epoch"]
    ran = postman("reshard", *command)

    assert (ran.status, ran.out) == (status, "")
    assert reason in ran.err
    assert _layout(postman)["epoch"] == epoch


def test_the_first_change_is_refused_where_a_worker_reads_another_number_than_the_settings_say(
    postman: Postman,
) -> None:
    """Also one that only pauses a shard: the layout that it makes would give up what the worker reads."""
    assert postman("init").status == 0
    with postman.working():
        wait_until_blocking(
            lambda: "1 workers report" in postman("shards", "list").out, within=5.0, every=0.2, what="a report"
        )
        for command in (("reshard", "6"), ("reshard", "3"), ("shards", "pause", "1")):
            ran = postman(*command, POSTMAN_SHARDS="3")
            assert (ran.status, ran.out) == (1, "")
            assert "reads 4 shards, but POSTMAN_SHARDS is 3 here" in ran.err
        shown = postman("shards", "list", POSTMAN_SHARDS="3").out
        assert "1 of 1 workers read another number of shards than POSTMAN_SHARDS here:" in shown
    assert _layout(postman)["epoch"] == 0


def test_a_ledger_without_a_layout_is_wrong_use(postman: Postman) -> None:
    ran = postman("reshard", "6", POSTMAN_LEDGER="memory:")

    assert (ran.status, ran.out) == (2, "")
    assert "POSTMAN_LEDGER: memory: keeps no layout that others could read" in ran.err


def test_dead_letters_of_shards_that_were_given_up_are_found(postman: Postman, sandbox: SandboxProcess) -> None:
    sandbox.fail("status", status=400, only="send")
    shards = _publish(postman, "m", 12)
    with postman.working():
        wait_until_blocking(lambda: len(postman.dead()) == 12, within=15.0, every=0.3, what="12 dead letters")
    last = [mail_id for mail_id, shard in shards.items() if shard == 3]
    assert last
    assert postman("reshard", "3", "--patience", "0").status == 0

    found = postman("dead", "list", "--shard", "3", "--json").lines
    assert {letter["id"] for letter in found} == set(last)
    refused = postman("dead", "list", "--shard", "4")
    assert (refused.status, refused.out) == (2, "")
    assert "--shard: there are 4 shards, numbered from 0" in refused.err

    assert postman("dead", "replay", "--shard", "3", "--yes", "--json").lines[0]["published"] == len(last)
    [shown] = postman("shards", "list", "--json").lines
    depths = [line["depth"] for line in shown["shards"]]
    assert (sum(depths[:3]), depths[3]) == (len(last), 0)
