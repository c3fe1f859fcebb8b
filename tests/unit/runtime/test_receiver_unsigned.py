"""Nothing that its provider did not sign changes anything."""

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from postman.core.events import EventKind
from postman.errors import ForgedEventError
from postman.testing.events import NOW, Signed, Told
from tests.contract.event_posts import TIMESTAMP, mailgun_event
from tests.unit.runtime.test_receiver import Town

_UNHURRIED = settings(deadline=None, max_examples=50)
"""An event loop and a key pair for each example take their time on a busy machine."""

_KINDS = st.builds(
    Told,
    kind=st.sampled_from(EventKind),
    mail_id=st.sampled_from(["m-1", "m-2"]),
    is_permanent=st.booleans(),
)


@st.composite
def _mutilated(draw: st.DrawFn, data: bytes) -> bytes:
    start = draw(st.integers(0, len(data)))
    end = min(len(data), start + draw(st.integers(0, 4)))
    return data[:start] + draw(st.binary(max_size=4)) + data[end:]


@_UNHURRIED
@given(st.lists(_KINDS, min_size=1, max_size=3), st.data())
def test_nothing_that_sendgrid_did_not_sign_changes_anything(told: list[Told], data: st.DataObject) -> None:
    """Its body, signature or time changed in any way; or the post of another account."""

    async def run() -> None:
        town = Town()
        await town.sending("m-1")
        await town.ledger.record_doubt((await town.sending("m-2")).claim, reason="no answer")
        before = town.state()
        [genuine] = town.sendgrid.post(*told, at=town.clock.time())
        [post] = town.sendgrid.with_other_key().post(*told) if data.draw(st.booleans()) else [genuine]
        post = _tampered(post, data)
        assume(post != genuine)

        with pytest.raises(ForgedEventError):
            await town.take("sendgrid", post)
        assert town.state() == before

    asyncio.run(run())


def _tampered(post: Signed, data: st.DataObject) -> Signed:
    name = data.draw(st.sampled_from(["body", TIMESTAMP, "nothing"]))
    if name == "body":
        return replace(post, body=data.draw(_mutilated(post.body)))
    if name == TIMESTAMP:
        shift = data.draw(st.integers(-100_000, 100_000))
        return replace(post, headers={**post.headers, name: str(int(post.headers[name]) + shift)})
    return post


@_UNHURRIED
@given(_KINDS, st.data())
def test_what_mailgun_signed_once_tells_one_thing(told: Told, data: st.DataObject) -> None:
    """Its signature does not cover the body: seen once, it can be put on no other."""

    async def run() -> None:
        town = Town()
        await town.sending("m-1", provider="mailgun")
        await town.sending("m-2", provider="mailgun")
        token = "t" * 50
        genuine = town.mailgun.sign(mailgun_event(Told(EventKind.ACCEPTED)), token=token)
        await town.take("mailgun", genuine)
        before = town.state()
        other = town.mailgun.sign(mailgun_event(told), token=token, at=NOW - data.draw(st.integers(0, 1_000)))
        assume(other.body != genuine.body)

        with pytest.raises(ForgedEventError):
            await town.take("mailgun", other)
        assert town.state() == before

    asyncio.run(run())


@_UNHURRIED
@given(_KINDS, st.data())
def test_nothing_that_mailgun_did_not_sign_changes_anything(told: Told, data: st.DataObject) -> None:
    async def run() -> None:
        town = Town()
        await town.sending("m-1", provider="mailgun")
        await town.sending("m-2", provider="mailgun")
        before = town.state()
        post = town.mailgun.sign(mailgun_event(told), token="t" * 50)
        document: dict[str, Any] = orjson.loads(post.body)
        name = data.draw(st.sampled_from(["timestamp", "token", "signature"]))
        value = document["signature"][name].encode()
        document["signature"][name] = data.draw(_mutilated(value)).decode("latin-1")
        assume(document["signature"][name] != value.decode())

        with pytest.raises(ForgedEventError):
            await town.take("mailgun", Signed({}, orjson.dumps(document)))
        assert town.state() == before

    asyncio.run(run())
