"""A provider's words for a log hold no address, however they are made, and take no longer for being strange."""

from hypothesis import given
from hypothesis import strategies as st

from postman.adapters._outcomes import presentable

WORDS = st.lists(
    st.sampled_from(["550", "no", "user", "bob@example.org", "<a%40b.org>,", '"', '"a b"@c.org', "a" * 60])
)


@given(WORDS)
def test_no_word_with_a_sign_of_an_address_is_left(words: list[str]) -> None:
    shown = presentable(" ".join(words))
    assert "@" not in shown
    assert "%40" not in shown


def test_what_is_no_address_stays() -> None:
    assert presentable("550 5.1.1 unknown user") == "550 5.1.1 unknown user"
    assert presentable("to bob@example.org: no") == "to [address] no"


def test_long_words_of_a_stranger_are_cut() -> None:
    assert presentable("a" * 5_000) == "a" * 200 + "…"
