"""Addresses: one strict reading, by `email-validator`, without asking the DNS.

The normal form keeps the local part as it is and has the domain in lower case
and, where it is international, in punycode. What providers cannot carry or
readers cannot tell apart is refused: local parts beyond ASCII (no provider here
offers SMTPUTF8), quoted local parts, comments, groups, domain literals, and
look-alike forms such as full-width letters.
"""

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from email_validator import EmailNotValidError

__all__ = ["MAX_EMAIL_LENGTH", "has_mixed_scripts", "normal_email"]

MAX_EMAIL_LENGTH: Final = 254
_MAX_LOCAL_LENGTH: Final = 64
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_PLAIN: Final = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@(?!.*xn--)[A-Za-z0-9.-]+", re.IGNORECASE)
"""Addresses of which only the domain needs the library, once. International ones have lengths of their own."""

_ALIKE: Final = (
    frozenset({"LATIN"}),
    frozenset({"LATIN", "CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}),
    frozenset({"LATIN", "CJK", "HANGUL"}),
    frozenset({"LATIN", "CJK", "BOPOMOFO"}),
)
"""Scripts that one label may mix (UTS 39, highly restrictive)."""


def normal_email(email: str) -> str:
    """Return *email* in its normal form; `ValueError` says why it is none, without repeating it."""
    local, _, domain = email.rpartition("@")
    if len(local) <= _MAX_LOCAL_LENGTH and len(email) <= MAX_EMAIL_LENGTH and _PLAIN.fullmatch(email):
        return f"{local}@{_normal_domain(domain)}"
    return _validated(email)


def has_mixed_scripts(email: str) -> bool:
    """Whether a label of the domain mixes scripts that no language mixes, as look-alikes do."""
    labels = email.rpartition("@")[2].split(".")
    return any(_is_mixed(_to_unicode(label)) for label in labels if label.startswith("xn--"))


@lru_cache(maxsize=4096)
def _normal_domain(domain: str) -> str:
    return _validated(f"a@{domain}").partition("@")[2]


def _validated(email: str) -> str:
    from email_validator import EmailNotValidError, validate_email  # late: it takes 20 ms, and commands often need none

    _refuse_lookalikes(email)
    try:
        found = validate_email(email, check_deliverability=False, strict=True, allow_smtputf8=False)
    except EmailNotValidError as error:
        # Not chained: the library's own text may quote the address.
        raise ValueError(_reason(error)) from None
    return f"{found.local_part}@{found.ascii_domain}"


def _refuse_lookalikes(email: str) -> None:
    local, at, domain = email.rpartition("@")
    if at and not local.isascii():
        raise ValueError("needs SMTPUTF8 before the @, which the providers do not offer")
    if unicodedata.normalize("NFKC", domain) != unicodedata.normalize("NFC", domain) or "\u3002" in domain:
        raise ValueError("has look-alike characters, such as full-width letters")


def _reason(error: "EmailNotValidError") -> str:
    text = re.split(r"[:('\"]", str(error), maxsplit=1)[0].strip().rstrip(".")
    return f"is no address: {text}"


def _to_unicode(label: str) -> str:
    try:
        return label.removeprefix("xn--").encode().decode("punycode")
    except UnicodeError:
        return label


def _is_mixed(label: str) -> bool:
    scripts = {unicodedata.name(letter, "?").split()[0] for letter in label if letter.isalpha()}
    return len(scripts) > 1 and not any(scripts <= alike for alike in _ALIKE)
