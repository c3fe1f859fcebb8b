"""What others read of a verdict: the reasons' names, and what is so without being said."""

from postman.core.verdict import DeadLetter, DeadReason, GiveBack


def test_reasons_are_named_as_dead_letters_carry_them() -> None:
    """They stand in messages and in entries that outlive this version."""
    assert {str(reason) for reason in DeadReason} == {
        "malformed",
        "conflict",
        "expired",
        "refused",
        "in_doubt",
        "poison",
        "suppressed",
    }


def test_mail_comes_back_at_once_unless_a_delay_is_named() -> None:
    """So a drained worker leaves nothing waiting."""
    assert GiveBack() == GiveBack(0.0)


def test_dead_letter_is_no_entrys_unless_it_says_whose() -> None:
    """Then the ledger is not told that it is durable."""
    assert DeadLetter(DeadReason.MALFORMED) == DeadLetter(DeadReason.MALFORMED, "", None)
