"""Hypothesis strategies: any mail that the contract allows."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from postman.core.mail import Address, Attachment, Mail, OnDoubt

__all__ = ["any_addresses", "any_mails", "any_text"]

any_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200)
_lines = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp"]), max_size=60).filter(
    lambda text: "=?" not in text
)
_words = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=12)
_locals = st.text("abcXYZ019!#$%&'*+/=?^_`{|}~-", min_size=1, max_size=20)
_domains = st.sampled_from(
    ["example.com", "Mail.Example.ORG", "bücher.example", "例え.example", "xn--bcher-kva.example"]
)
_times = st.datetimes(datetime(2000, 1, 2), datetime(2100, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 — bounds

any_addresses = st.builds(
    lambda local, domain, name: Address(email=f"{local}@{domain}", name=name), _locals, _domains, st.none() | _lines
)
_attachments = st.builds(
    Attachment,
    filename=_words,
    content_type=st.sampled_from(["text/plain", "image/png", "text/csv; charset=utf-8"]),
    content=st.binary(max_size=100),
)


@st.composite
def any_mails(draw: st.DrawFn) -> Mail:
    """Mails with any of their fields set."""
    people = draw(st.lists(any_addresses, min_size=1, max_size=6, unique_by=lambda address: address.email.lower()))
    cut, end = sorted(draw(st.tuples(st.integers(0, len(people)), st.integers(0, len(people)))))
    fields: dict[str, Any] = {
        "from_": draw(any_addresses),
        "to": people[:cut],
        "cc": people[cut:end],
        "bcc": people[end:],
        "text": draw(any_text.filter(bool)),
        "id": draw(_lines.filter(lambda text: text != "" and text.isprintable())),
    }
    optional = {
        "reply_to": st.lists(any_addresses, max_size=2),
        "subject": _lines,
        "html": any_text,
        "headers": st.dictionaries(_words.map(lambda word: f"X-{word}"), _words, max_size=3),
        "attachments": st.lists(_attachments, max_size=2),
        "tags": st.lists(_words, max_size=3, unique=True),
        "metadata": st.dictionaries(_words.map(lambda word: f"k-{word}"), _lines, max_size=3),
        "send_at": st.none() | _times,
        "on_doubt": st.sampled_from(OnDoubt),
        "tenant": st.none() | _words,
    }
    return Mail(**fields, **draw(st.fixed_dictionaries({}, optional=optional)))
