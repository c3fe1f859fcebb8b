"""One reading of an address, and it is the library's."""

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given
from hypothesis import strategies as st

from postman.core.addresses import has_mixed_scripts, normal_email

_letters = st.text("ab.-_+'\"@,;:<>()[]\\ \t\r\n\0Z09é\u0430\uff41\u3002\u202e\U0001f4e7", max_size=12)
_domains = st.sampled_from(
    ["example.com", "Example.ORG", "x.test", "localhost", "bücher.example", "-a.com", "a..com", ""]
)


@given(_letters, _domains | _letters)
@example("x" * 64, "example.com")
@example("x" * 65, "example.com")
@example("a", "b" * 63 + ".com")
@example("a", ".".join(["b" * 60] * 4) + ".co")
@example("a" * 64, ".".join(["b" * 60] * 3) + ".abcde")
@example("a" * 64, ".".join(["b" * 60] * 3) + ".abcdef")
@example("a" * 50, ".".join(["ü" * 40] * 3) + ".example")
@example("a" * 64, ".".join(["xn--" + ("ü" * 50).encode("punycode").decode()] * 2) + ".example")
def test_nothing_is_accepted_that_the_library_refuses_and_nothing_is_read_otherwise(local: str, domain: str) -> None:
    """The quick way for plain addresses must not become a second opinion."""
    email = f"{local}@{domain}"
    try:
        ours = normal_email(email)
    except ValueError:
        return
    theirs = validate_email(email, check_deliverability=False, strict=True, allow_smtputf8=False)
    assert ours == f"{theirs.local_part}@{theirs.ascii_domain}"


@given(st.text("abXYZ09!#$%&'*+/=?^_`{|}~.-", max_size=70), st.sampled_from(["example.com", "Ex-ample.ORG", "a.test"]))
def test_plain_addresses_that_the_library_accepts_are_accepted(local: str, domain: str) -> None:
    email = f"{local}@{domain}"
    try:
        validate_email(email, check_deliverability=False, strict=True, allow_smtputf8=False)
    except EmailNotValidError:
        with pytest.raises(ValueError, match="no address"):
            normal_email(email)
    else:
        assert normal_email(email) == f"{local}@{domain.lower()}"


@pytest.mark.parametrize(
    "email", ["a@example.com", "a@bücher.example", "a@例え.jp", "a@поч.example", "a@日本ソニーabc.jp"]
)
def test_a_domain_in_one_languages_scripts_is_not_mixed(email: str) -> None:
    assert not has_mixed_scripts(normal_email(email))


@pytest.mark.parametrize("email", ["a@pple-43d.com", "a@google-mff.com"])
def test_a_plain_domain_that_reads_like_punycode_is_not_mixed(email: str) -> None:
    assert not has_mixed_scripts(normal_email(email))


@pytest.mark.parametrize(
    "email", ["a@\u0430pple.com", "a@goog\u04cfe.com", "a@\u03b1lpha.example", "a@x.p\u0430y.example"]
)
def test_a_domain_with_a_look_alike_letter_is_mixed(email: str) -> None:
    assert has_mixed_scripts(normal_email(email))
