import pytest

from postman.sandbox.addresses import is_address, read_list
from postman.sandbox.mails import Mailbox


@pytest.mark.parametrize(
    "text", ["a@example.org", "a.b+c@x.example.org", '"a b"@example.org', "a@xn--bcher-kva.example"]
)
def test_ordinary_addresses_are_taken(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a@localhost",
        "@example.org",
        "a@",
        "a b@example.org",
        "a..b@example.org",
        ".a@example.org",
        "a@-example.org",
        "a@example..org",
        "a@bücher.example",
        "ü@example.org",
        "a@example.org\n",
        "Ann <a@example.org>",
        "a" * 65 + "@example.org",
        "a@" + "b." * 130 + "org",
    ],
)
def test_addresses_that_no_provider_takes_are_refused(text: str) -> None:
    assert not is_address(text)


def test_a_list_is_read_with_names_commas_and_encoded_words() -> None:
    text = '"Doe, Jane" <jane@example.org>, bob@example.org, =?utf-8?q?J=C3=BCrgen?= <j@example.org>'

    assert read_list(text) == (
        Mailbox("jane@example.org", "Doe, Jane"),
        Mailbox("bob@example.org"),
        Mailbox("j@example.org", "Jürgen"),
    )


@pytest.mark.parametrize("text", ["", "a@example.org, nobody", "Ann <a@b>", "a@example.org\r\nBcc: b@example.org", ","])
def test_one_bad_address_spoils_the_list(text: str) -> None:
    assert read_list(text) is None
