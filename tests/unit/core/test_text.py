"""What may stand in a header line, raw and after decoding."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postman.core.eml.words import decode_charset, decode_words, readable
from postman.core.text import check_line, find_control


@given(st.text(max_size=40))
def test_what_python_decodes_to_a_line_break_is_refused(text: str) -> None:
    """Whatever our own decoder makes of a line that passes, no control character comes out."""
    try:
        check_line(text)
    except ValueError:
        return
    assert not find_control(decode_words(text))


@given(st.binary(max_size=30), st.sampled_from(["utf-8", "latin-1", "utf-7", "shift_jis", "unknown", "utf-8*en"]))
def test_encoded_words_of_any_bytes_pass_only_without_control_characters(data: bytes, charset: str) -> None:
    quoted = "".join(f"={byte:02X}" for byte in data)
    try:
        check_line(f"a =?{charset}?Q?{quoted}?= b")
    except ValueError as error:
        assert "encoded word" in str(error)  # noqa: PT017 — either outcome is right, but for the right reason
        return
    assert not any(byte < 0x20 or byte == 0x7F for byte in data) or charset in ("utf-7", "shift_jis")


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("plain", "plain"),
        ("=?utf-8?q?J=C3=B6rg?=", "Jörg"),
        ("=?UTF-8?B?SsO2cmc=?=", "Jörg"),
        ("=?iso-8859-1?Q?a_b=5F?= c", "a b_ c"),
        ("a =?utf-8?q?b?= =?utf-8?q?c?= d", "a bc d"),
        ("=?utf-8?B?SsM=?= =?utf-8?B?tnJn?=", "Jörg"),
        ("=?iso-8859-1?q?=FC?= =?utf-8?q?=C3=BC?=", "üü"),
        ("=?utf-8*de?q?gr=C3=BCn?=", "grün"),
        ("=?no-such?q?=FC?=", "=?no-such?q?=FC?="),
        ("=?utf-8?q?=FF?=", "=?utf-8?q?=FF?="),
        ("=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
        ("=?utf-8?q??=", ""),
        ("1 =? 2", "1 =? 2"),
    ],
)
def test_encoded_words_are_decoded(text: str, decoded: str) -> None:
    assert decode_words(text) == decoded


def test_a_folded_line_is_one_line() -> None:
    assert readable("a\r\n b\n\tc\td") == "a b c d"


def test_raw_bytes_are_read_as_utf8_else_as_latin1() -> None:
    assert readable("grün".encode().decode("ascii", "surrogateescape")) == "grün"
    assert readable("grün".encode("latin-1").decode("ascii", "surrogateescape")) == "grün"


def test_a_charset_that_is_too_narrow_stands_for_its_superset() -> None:
    assert decode_charset("①".encode("cp932"), "Shift_JIS") == "①"
    assert decode_charset("grün".encode(), "us-ascii") == "grün"
    with pytest.raises(ValueError, match="charset"):
        decode_charset(b"\xff", "us-ascii")
