"""Our verification and the vendors' own libraries come to the same result, whatever is done to a post.

Where they may differ, and only there: an old post, which SendGrid's library does
not know of; and one whose time is none, which nobody can sign but the provider.
"""

import base64
import string
from typing import Any, Final

import orjson
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from postman.adapters.mailgun_events import MailgunEvents
from postman.adapters.sendgrid_events import SendGridEvents
from postman.core.events import EventKind
from postman.errors import ForgedEventError
from postman.ports.events import EventSource
from postman.testing.events import NOW, Signed, Told
from tests.contract.event_posts import SIGNATURE, TIMESTAMP, MailgunSender, SendGridSender, mailgun_event

_webhooks: Any = pytest.importorskip("sendgrid.helpers.eventwebhook", reason="the library sendgrid is not installed")
_security: Any = pytest.importorskip("mailgun.security", reason="the library mailgun is not installed")

_SENDGRID: Final = SendGridSender()
_MAILGUN: Final = MailgunSender()
_OURS: Final = SendGridEvents("sendgrid", [_SENDGRID.public_key])
_OURS_MAILGUN: Final = MailgunEvents("mailgun", [_MAILGUN.key])
_TOLD: Final = Told(EventKind.DELIVERED)
[_GENUINE] = _SENDGRID.post(_TOLD)
_GENUINE_MAILGUN: Final = _MAILGUN.sign(mailgun_event(_TOLD))
_UNHURRIED: Final = settings(deadline=None)


def we_accept(source: EventSource, post: Signed, now: float = NOW) -> bool:
    try:
        source.read(post.headers, post.body, now=now)
    except ForgedEventError:
        return False
    return True


def sendgrid_accepts(post: Signed) -> bool:
    """Ask SendGrid's library, which takes the body as text, and raises for what is no base64."""
    theirs = _webhooks.EventWebhook(_SENDGRID.public_key)
    try:
        return bool(theirs.verify_signature(post.body.decode(), post.headers[SIGNATURE], post.headers[TIMESTAMP]))
    except ValueError:
        return False


def mailgun_accepts(post: Signed) -> bool:
    """Ask Mailgun's library, which takes what is in the signature; its own window needs the true time, and is off."""
    try:
        signature = orjson.loads(post.body)["signature"]
        parts = {name: signature[name] for name in ("token", "timestamp", "signature")}
        return bool(_security.SecurityGuard.verify_webhook(_MAILGUN.key, **parts, max_age_seconds=0))
    except (ValueError, TypeError, LookupError):
        return False


@st.composite
def _changed(draw: st.DrawFn, text: str) -> str:
    """*text* with one part of it replaced, left out, doubled or added to."""
    start = draw(st.integers(0, len(text)))
    end = min(len(text), start + draw(st.integers(0, 3)))
    new = draw(st.text(string.ascii_letters + string.digits + string.punctuation + " \n\u00e9", max_size=3))
    return text[:start] + new + text[end:]


@st.composite
def _tampered_sendgrid(draw: st.DrawFn) -> Signed:
    post = _GENUINE
    parts = {"body": post.body.decode(), SIGNATURE: post.headers[SIGNATURE], TIMESTAMP: post.headers[TIMESTAMP]}
    for name in draw(st.sets(st.sampled_from(sorted(parts)), max_size=2)):
        parts[name] = draw(_changed(parts[name]))
    body = parts.pop("body")
    return Signed(parts, body.encode())


@_UNHURRIED
@given(_tampered_sendgrid())
def test_sendgrid_s_library_and_ours_agree_on_a_tampered_post(post: Signed) -> None:
    """Genuine, or changed in body, signature or time, by up to three characters in up to two places."""
    assert we_accept(_OURS, post) == sendgrid_accepts(post)


@_UNHURRIED
@given(signature=st.binary(max_size=80), is_base64=st.booleans())
def test_they_agree_on_any_signature(signature: bytes, is_base64: bool) -> None:
    text = base64.b64encode(signature).decode() if is_base64 else signature.decode("latin-1")
    assume(text)  # an empty header is missing for us; their library is not asked without one
    changed = Signed({**_GENUINE.headers, SIGNATURE: text}, _GENUINE.body)

    assert we_accept(_OURS, changed) == sendgrid_accepts(changed) is False


@_UNHURRIED
@given(st.text(max_size=200), st.integers(int(NOW) - 80_000, int(NOW)))
@example("[]", int(NOW))
@example("", int(NOW))
def test_they_agree_on_any_body_that_is_signed(body: str, at: int) -> None:
    post = _SENDGRID.sign(body.encode("utf-8", "replace"), at=at)

    assert we_accept(_OURS, post) == sendgrid_accepts(post) is True


def test_an_old_post_is_refused_by_us_alone() -> None:
    [post] = _SENDGRID.post(_TOLD)

    assert sendgrid_accepts(post)
    assert we_accept(_OURS, post, NOW + 24 * 3_600)
    assert not we_accept(_OURS, post, NOW + 26 * 3_600)


def test_a_post_that_is_told_again_is_taken_by_both() -> None:
    """The same bytes prove the same; it is the ledger that counts an event once."""
    [post] = _SENDGRID.post(_TOLD)

    assert [we_accept(_OURS, post), we_accept(_OURS, post)] == [True, True] == [sendgrid_accepts(post)] * 2


def test_the_headers_have_the_names_that_the_library_knows() -> None:
    names = _webhooks.EventWebhookHeader

    assert (names.SIGNATURE, names.TIMESTAMP) == (SIGNATURE, TIMESTAMP)


@st.composite
def _tampered_mailgun(draw: st.DrawFn) -> Signed:
    document = orjson.loads(_GENUINE_MAILGUN.body)
    signature = document["signature"]
    for name in draw(st.sets(st.sampled_from(sorted(signature)), max_size=2)):
        signature[name] = draw(_changed(signature[name]) | st.none() | st.integers(0, 2**63) | st.just([]))
    for name in draw(
        st.sets(st.sampled_from(sorted(signature)), max_size=1) if draw(st.booleans()) else st.just(set())
    ):
        del signature[name]
    return Signed({}, orjson.dumps(document))


@_UNHURRIED
@given(_tampered_mailgun())
def test_mailgun_s_library_and_ours_agree_on_a_tampered_post(post: Signed) -> None:
    assert we_accept(_OURS_MAILGUN, post) == mailgun_accepts(post)


@_UNHURRIED
@given(st.text(string.hexdigits, min_size=1, max_size=50), st.integers(int(NOW) - 28_800, int(NOW)))
def test_they_agree_on_any_token_that_is_signed(token: str, at: int) -> None:
    post = _MAILGUN.sign(mailgun_event(_TOLD), token=token, at=at)

    assert we_accept(_OURS_MAILGUN, post) == mailgun_accepts(post) is True


def test_an_old_post_of_mailgun_s_is_refused_by_us() -> None:
    """Its library has a window too, of 15 minutes by default, in which no repetition after hours would fit."""
    post = _MAILGUN.sign(mailgun_event(_TOLD))

    assert mailgun_accepts(post)
    assert we_accept(_OURS_MAILGUN, post, NOW + 8 * 3_600)
    assert not we_accept(_OURS_MAILGUN, post, NOW + 9 * 3_600)


def test_the_body_beside_mailgun_s_signature_proves_nothing() -> None:
    """Both say yes to a body that was never signed: hence the nonces."""
    post = _MAILGUN.sign(mailgun_event(_TOLD))
    changed = Signed({}, post.body.replace(b"m-1", b"m-2"))

    assert we_accept(_OURS_MAILGUN, changed) == mailgun_accepts(changed) is True
