import pytest

from postman.sandbox.faults import Fault, FaultBoard, FaultError, FaultKind, Traffic, read_fault, read_faults
from postman.sandbox.settings import ProviderName

SENDGRID, MAILGUN = ProviderName.SENDGRID, ProviderName.MAILGUN


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "kind"),
        ([], "kind"),
        ({"kind": "tired"}, "kind"),
        ({"kind": 7}, "kind"),
        ({"kind": "down", "often": 1}, "often"),
        ({"kind": "down", "rate": 0}, "rate"),
        ({"kind": "down", "rate": 1.1}, "rate"),
        ({"kind": "down", "rate": float("nan")}, "rate"),
        ({"kind": "down", "rate": True}, "rate"),
        ({"kind": "down", "count": 0}, "count"),
        ({"kind": "down", "count": 1.5}, "count"),
        ({"kind": "down", "only": "events"}, "only"),
        ({"kind": "down", "seconds": 3}, "seconds"),
        ({"kind": "slow"}, "seconds"),
        ({"kind": "slow", "seconds": -1}, "seconds"),
        ({"kind": "slow", "seconds": "1"}, "seconds"),
        ({"kind": "status"}, "status"),
        ({"kind": "status", "status": 99}, "status"),
        ({"kind": "status", "status": 100}, "status"),
        ({"kind": "status", "status": 500, "headers": {"X": "a\r\nb: c"}}, "headers"),
        ({"kind": "status", "status": 500, "headers": {"X": 1}}, "headers"),
        ({"kind": "throttle", "status": 500}, "status"),
        ({"kind": "hang", "accept": True}, "accept"),
        ({"kind": "refuse", "rate": 1}, "rate"),
        ({"kind": "refuse", "count": 1}, "count"),
        ({"kind": "refuse", "only": "send"}, "only"),
    ],
)
def test_a_wrong_fault_is_refused_by_the_name_of_its_field(document: object, field: str) -> None:
    with pytest.raises(FaultError) as caught:
        read_fault(document)

    assert caught.value.field == field


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "down", "rate": 0.25, "count": 3, "only": "lookup"},
        {"kind": "refuse"},
        {"kind": "slow", "rate": 1.0, "seconds": 0.5},
        {"kind": "status", "rate": 1.0, "status": 502, "body": "x", "headers": {"Via": "proxy"}, "accept": True},
        {"kind": "throttle", "rate": 1.0, "seconds": 7, "status": 420},
    ],
)
def test_a_fault_is_shown_as_it_was_set(document: dict[str, object]) -> None:
    assert read_fault(document).document() == document


def test_several_faults_come_as_an_array_or_under_their_name() -> None:
    listed = [{"kind": "down"}, {"kind": "slow", "seconds": 1}]

    assert read_faults(listed) == read_faults({"faults": listed})
    assert [fault.kind for fault in read_faults(listed)] == [FaultKind.DOWN, FaultKind.SLOW]


def test_no_fault_means_an_honest_answer_at_once() -> None:
    decision = FaultBoard().decide(SENDGRID, Traffic.SEND)

    assert (decision.fault, decision.delay) == (None, 0.0)


def test_a_fault_is_for_its_provider_only() -> None:
    board = FaultBoard()
    board.add(SENDGRID, Fault(FaultKind.DOWN))

    assert board.decide(MAILGUN, Traffic.SEND).fault is None


def test_a_fault_may_be_for_one_kind_of_request_only() -> None:
    board = FaultBoard()
    board.add(SENDGRID, Fault(FaultKind.DOWN, only=Traffic.LOOKUP))

    assert board.decide(SENDGRID, Traffic.SEND).fault is None
    assert board.decide(SENDGRID, Traffic.LOOKUP).fault is not None


def test_a_counted_fault_hits_so_many_requests_and_is_gone() -> None:
    board = FaultBoard()
    board.add(SENDGRID, Fault(FaultKind.DOWN, count=2))

    hit = [board.decide(SENDGRID, Traffic.SEND).fault is not None for _ in range(4)]

    assert hit == [True, True, False, False]
    assert not board.of(SENDGRID)


def test_a_rate_hits_about_its_share_of_the_requests() -> None:
    board = FaultBoard(seed=1)
    board.add(SENDGRID, Fault(FaultKind.RESET, rate=0.25))

    hits = sum(board.decide(SENDGRID, Traffic.SEND).fault is not None for _ in range(4000))

    assert 900 < hits < 1100


def test_the_same_seed_throws_the_same_dice() -> None:
    boards = [FaultBoard(seed=5), FaultBoard(seed=5), FaultBoard(seed=6)]
    for board in boards:
        board.add(SENDGRID, Fault(FaultKind.DOWN, rate=0.5))

    first, same, other = ([board.decide(SENDGRID, Traffic.SEND).fault for _ in range(64)] for board in boards)

    assert first == same
    assert first != other


def test_delays_add_up_and_leave_the_request_to_the_next_fault() -> None:
    board = FaultBoard()
    board.add(SENDGRID, Fault(FaultKind.SLOW, seconds=1))
    board.add(SENDGRID, Fault(FaultKind.SLOW, seconds=2, only=Traffic.SEND))
    board.add(SENDGRID, Fault(FaultKind.DOWN))

    decision = board.decide(SENDGRID, Traffic.SEND)

    assert decision.delay == 3
    assert decision.fault is not None
    assert decision.fault.kind is FaultKind.DOWN


def test_a_fault_of_the_same_kind_replaces_the_one_before() -> None:
    board = FaultBoard()
    board.add(SENDGRID, Fault(FaultKind.DOWN, rate=0.5))
    board.add(SENDGRID, Fault(FaultKind.DOWN))

    assert [fault.rate for fault in board.of(SENDGRID)] == [1.0]


def test_clearing_takes_one_kind_or_all() -> None:
    board = FaultBoard()
    board.replace(SENDGRID, [Fault(FaultKind.DOWN), Fault(FaultKind.RESET), Fault(FaultKind.REFUSE)])

    board.clear(SENDGRID, FaultKind.DOWN)
    assert [fault.kind for fault in board.of(SENDGRID)] == [FaultKind.RESET, FaultKind.REFUSE]
    assert board.refuses(SENDGRID)

    board.clear(SENDGRID)
    assert not board.of(SENDGRID)
    assert not board.refuses(SENDGRID)
