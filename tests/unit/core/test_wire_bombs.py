"""What a text becomes in memory is bounded before it is read, and no mail that may be sent is taken for a bomb."""

import resource
import subprocess
import sys
from collections.abc import Callable

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postman import Mail
from postman.core.mail import MAX_ATTACHMENTS, MAX_ENCODED_BYTES, MAX_RECIPIENTS, MAX_REPLY_TO
from postman.core.wire import MAX_TOKENS, _has_many_tokens, decode, encode, parse
from postman.errors import InvalidMailError

_SIZE = MAX_ENCODED_BYTES - 1_000
_HEAD = b'{"id":"m","from":{"email":"a@example.org"},"to":[{"email":"b@example.org"}],"text":"t","x":'


def bomb(piece: bytes) -> bytes:
    return _HEAD + b"[" + b",".join([piece] * (_SIZE // (len(piece) + 1))) + b"]}"


def largest() -> Mail:
    """Return a mail with all that one may have."""
    people = [{"email": f"customer.{n}@example.org", "name": f"Customer, [{n}]"} for n in range(MAX_RECIPIENTS)]
    file = {"filename": "a,b.txt", "content_type": "text/plain", "content": "YQ=="}
    plain = {
        "id": "m",
        "from": people[0],
        "to": people[:900],
        "cc": people[900:],
        "reply_to": people[:MAX_REPLY_TO],
        "subject": "s",
        "text": '{"quoted\\": [1, 2]}, ' * 50_000,
        "headers": {f"X-{n}": "a, b" for n in range(20)},
        "attachments": [file | {"content_id": f"c{n}"} for n in range(MAX_ATTACHMENTS)],
        "metadata": {f"k{n}": '"' for n in range(20)},
        "tags": ["a", "b"],
    }
    return parse(plain)


def test_the_largest_mail_is_none() -> None:
    mail = largest()
    assert decode(encode(mail)) == mail


def test_a_long_text_full_of_marks_and_quotes_is_none() -> None:
    plain = {"id": "m", "from": {"email": "a@example.org"}, "to": [{"email": "b@example.org"}]}
    for text in ("[{,}]" * 500_000, '","' * 500_000, '\\",' * 500_000, "\\\\,\n" * 300_000):
        assert decode(orjson.dumps(plain | {"text": text})).text == text


@pytest.mark.parametrize("piece", [b"1", b"{}", b"[]", b'""', b'{"a":1}', b'"\\\\"', b"0.1"], ids=bytes.decode)
def test_a_text_of_ever_more_small_things_is_refused(piece: bytes) -> None:
    with pytest.raises(InvalidMailError, match=f"has more than {MAX_TOKENS} strings, commas and opening brackets"):
        decode(bomb(piece))


def _tokens(text: bytes) -> int:
    """Count as one would by hand, letter by letter."""
    count, is_inside, is_escaped = 0, False, False
    for letter in text.decode():
        if is_inside:
            is_inside = is_escaped or letter != '"'
            is_escaped = letter == "\\" and not is_escaped
        elif letter in '",{[':
            count += 1
            is_inside = letter == '"'
    return count


_JSON = st.recursive(
    st.none() | st.integers(0, 9) | st.text('ab",\\{[\n', max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('a"\\,', max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(_JSON, st.integers(1, 9))
def test_the_count_is_exact(value: object, times: int) -> None:
    one = orjson.dumps(value) + b","
    enough = MAX_TOKENS // _tokens(one)
    assert not _has_many_tokens(one * enough)
    assert _has_many_tokens(one * (enough + times))


_MEASURING = """
import resource, sys
from postman.core.wire import decode, digest
from postman.errors import InvalidMailError
data = sys.stdin.buffer.read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    digest(decode(data))
except InvalidMailError:
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def _in_a_text(text: str) -> Callable[[], bytes]:
    return lambda: _HEAD + orjson.dumps(text * (_SIZE // len(orjson.dumps(text)[1:-1]))) + b"}"


@pytest.mark.parametrize(
    ("make", "factor"),
    [
        (lambda: bomb(b"1"), 1.5),
        (lambda: bomb(b"{}"), 1.5),
        (lambda: _HEAD.replace(b'"x":', b'"cc":[') + b"1," * (_SIZE // 2 - 100) + b"1]}", 1.5),
        (lambda: _HEAD + b"[" * (_SIZE // 2) + b"]" * (_SIZE // 2) + b"}", 1.5),
        (lambda: _HEAD + b"1" * _SIZE + b"}", 1.5),
        (_in_a_text("x"), 3.0),
        (_in_a_text("\n"), 3.0),
        (_in_a_text('"'), 3.0),
        (lambda: _HEAD + '"😀'.encode() + b"x" * (_SIZE - 8) + b'"}', 6.0),
    ],
    ids=["numbers", "objects", "numbers for addresses", "brackets", "digits", "text", "lines", "quotes", "wide text"],
)
def test_reading_takes_a_few_times_the_size_of_the_text(make: Callable[[], bytes], factor: float) -> None:
    """Ten megabytes of numbers in the place of addresses took six gigabytes, and a minute and a half."""
    data = make()
    assert MAX_ENCODED_BYTES - 10_000 < len(data) <= MAX_ENCODED_BYTES
    done = subprocess.run(
        [sys.executable, "-c", _MEASURING], input=data, stdout=subprocess.PIPE, check=True, timeout=60
    )
    assert int(done.stdout) * (1024 if sys.platform == "linux" else 1) < factor * len(data)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss > 0
