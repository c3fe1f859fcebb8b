"""Sessions and the tokens of forms: what is signed is believed, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postman.entrypoints.console.sessions import LASTS, Key, cookie_of, name_in, proof_of, proves

NOW = 1_700_000_000.0
NINA, OTTO = Key.of("nina", "token-of-nina-123456"), Key.of("otto", "token-of-otto-123456")


def test_a_cookie_tells_whose_token_made_it_on_any_instance() -> None:
    cookie = cookie_of(NINA, NOW)

    assert name_in(cookie, [OTTO, NINA], NOW + LASTS - 1) == "nina"
    assert name_in(cookie, [OTTO, NINA], NOW + LASTS) is None
    assert name_in(cookie, [OTTO], NOW) is None
    assert cookie_of(NINA, NOW) != cookie


@given(st.integers(0, 200), st.sampled_from("aZ0._-é"))
def test_a_cookie_that_was_changed_is_nobodys(place: int, letter: str) -> None:
    cookie = cookie_of(NINA, NOW)
    changed = cookie[: place % len(cookie)] + letter + cookie[place % len(cookie) + 1 :]

    assert changed == cookie or name_in(changed, [NINA], NOW) is None


@given(st.text(max_size=300))
def test_a_strangers_text_is_nobodys(text: str) -> None:
    assert name_in(text, [NINA, OTTO], NOW) is None
    assert not proves(text, cookie_of(NINA, NOW), "nina")


def test_a_form_is_of_one_session_and_one_person() -> None:
    cookie, other = cookie_of(NINA, NOW), cookie_of(NINA, NOW)

    assert proves(proof_of(cookie, "nina"), cookie, "nina")
    assert not proves(proof_of(cookie, "nina"), other, "nina")
    assert not proves(proof_of(cookie, "nina"), cookie, "otto")
    assert not proves(proof_of("", ""), "", "")


@pytest.mark.parametrize("token", ["", "token-of-nina-12345", "token-of-nina-1234567", "\ud800"])
def test_only_the_token_fits(token: str) -> None:
    assert not NINA.fits(token)
    assert NINA.fits("token-of-nina-123456")
    assert "token" not in repr(NINA)
