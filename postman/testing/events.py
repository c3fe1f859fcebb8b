"""The contract of the port `EventSource`, as tests.

Subclass `EventSourceSuite` and give it two fixtures: *source*, which reads with
the right key, and *sender*, the provider's side, which makes posts as the
provider does.
"""

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import pytest

from postman.core.events import EventKind
from postman.errors import ForgedEventError
from postman.ports.events import EventPost, EventSource

__all__ = ["NOW", "EventSender", "EventSourceSuite", "Signed", "Told"]

NOW: Final = 1_800_000_000.25
_HOUR: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class Told:
    """What the provider has to tell, before it is in the provider's form."""

    kind: EventKind
    mail_id: str = "m-1"
    """Empty: the mail did not carry an id of ours."""
    recipient: str = "hidden.person@example.org"
    is_permanent: bool = False
    detail: str = "550 5.1.1 <hidden.person@example.org>: no such mailbox"
    at: float = 1_799_999_990.0


@dataclass(frozen=True, slots=True)
class Signed:
    """One request as it comes over the wire."""

    headers: Mapping[str, str]
    body: bytes


class EventSender(Protocol):
    """The provider's side."""

    @property
    def repeats_for(self) -> float:
        """Seconds for which the provider repeats a post that was not taken."""
        ...

    @property
    def covers_body(self) -> bool:
        """Whether its signature covers the body."""
        ...

    def post(self, *told: Told, at: float = NOW) -> Sequence[Signed]:
        """Return the posts that tell all of *told*, signed at the moment *at*."""
        ...

    def post_foreign(self) -> Signed:
        """Return a genuine post of one event that does not concern us (an open)."""
        ...

    def post_damaged(self) -> Signed:
        """Return a genuine post of one event that cannot be read."""
        ...

    def with_other_key(self) -> "EventSender":
        """Return one that signs with another key."""
        ...


def _read(source: EventSource, post: Signed, *, now: float = NOW) -> EventPost:
    return source.read(post.headers, post.body, now=now)


class EventSourceSuite:
    """Subclass it, and give it the fixtures *source* and *sender*."""

    @pytest.mark.parametrize("kind", EventKind)
    def test_each_kind_of_event_is_read(self, source: EventSource, sender: EventSender, kind: EventKind) -> None:
        """With our id, the recipient, the provider's id of the mail and its time."""
        [post] = sender.post(Told(kind))

        read = _read(source, post)

        [event] = read.events
        assert (event.provider, event.kind, event.mail_id) == (source.name, kind, "m-1")
        assert (event.recipient, event.at) == ("hidden.person@example.org", 1_799_999_990.0)
        assert event.message_id
        assert read.unread == 0

    def test_all_events_of_a_mail_name_it_by_the_same_id(self, source: EventSource, sender: EventSender) -> None:
        """The provider's own id of a mail is the same in each of its events."""
        posts = sender.post(Told(EventKind.ACCEPTED), Told(EventKind.DELIVERED))

        events = [event for post in posts for event in _read(source, post).events]

        assert [event.kind for event in events] == [EventKind.ACCEPTED, EventKind.DELIVERED]
        assert len({event.message_id for event in events}) == 1

    @pytest.mark.parametrize("is_permanent", [True, False])
    def test_a_bounce_says_whether_the_address_is_bad(
        self, source: EventSource, sender: EventSender, *, is_permanent: bool
    ) -> None:
        """Only a permanent one means that no later mail can arrive."""
        [post] = sender.post(Told(EventKind.BOUNCED, is_permanent=is_permanent))

        [event] = _read(source, post).events

        assert event.is_permanent is is_permanent

    @pytest.mark.parametrize("kind", [kind for kind in EventKind if kind is not EventKind.BOUNCED])
    def test_nothing_but_a_bounce_is_permanent(self, source: EventSource, sender: EventSender, kind: EventKind) -> None:
        [post] = sender.post(Told(kind))

        assert not _read(source, post).events[0].is_permanent

    def test_an_event_without_our_id_is_read(self, source: EventSource, sender: EventSender) -> None:
        """Others may send through the same account."""
        [post] = sender.post(Told(EventKind.DELIVERED, mail_id=""))

        assert [event.mail_id for event in _read(source, post).events] == [""]

    @pytest.mark.parametrize("mail_id", ["x" * 129, "a\nb", "\x00", " " * 200])
    def test_what_cannot_be_an_id_of_ours_is_none(self, source: EventSource, sender: EventSender, mail_id: str) -> None:
        [post] = sender.post(Told(EventKind.DELIVERED, mail_id=mail_id))

        assert [event.mail_id for event in _read(source, post).events] == [""]

    def test_what_does_not_concern_us_is_counted(self, source: EventSource, sender: EventSender) -> None:
        """An open or a click is no error."""
        assert replace(_read(source, sender.post_foreign()), nonce="") == EventPost((), unread=1)

    def test_a_damaged_event_is_counted(self, source: EventSource, sender: EventSender) -> None:
        """The post is genuine all the same."""
        assert replace(_read(source, sender.post_damaged()), nonce="") == EventPost((), unread=1)

    def test_addresses_stand_in_the_recipient_alone(self, source: EventSource, sender: EventSender) -> None:
        """The provider's words are kept without the address that they quote, and a repr shows none."""
        [post] = sender.post(Told(EventKind.BOUNCED, is_permanent=True))

        [event] = _read(source, post).events

        assert "5.1.1" in event.detail
        assert "hidden" not in event.detail
        assert "hidden" not in repr(event)

    def test_headers_are_found_whatever_their_case(self, source: EventSource, sender: EventSender) -> None:
        [post] = sender.post(Told(EventKind.DELIVERED))

        for change in (str.lower, str.upper):
            changed = Signed({change(name): value for name, value in post.headers.items()}, post.body)
            assert _read(source, changed) == _read(source, post)

    def test_a_post_of_another_key_is_forged(self, source: EventSource, sender: EventSender) -> None:
        [post] = sender.with_other_key().post(Told(EventKind.DELIVERED))

        with pytest.raises(ForgedEventError):
            _read(source, post)

    @pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"\xff", b'{"signature": 1}', b"[" * 10_000])
    def test_what_is_not_signed_is_forged(self, source: EventSource, body: bytes) -> None:
        """Whatever it is, and however it is damaged."""
        with pytest.raises(ForgedEventError):
            source.read({"Content-Type": "application/json"}, body, now=NOW)

    def test_a_post_with_other_headers_than_its_own_is_forged_or_tells_the_same(
        self, source: EventSource, sender: EventSender
    ) -> None:
        """What a header without a meaning says changes nothing."""
        [post] = sender.post(Told(EventKind.DELIVERED))
        told = _read(source, post)

        for left_out in post.headers:
            headers = {name: value for name, value in post.headers.items() if name != left_out}
            try:
                assert _read(source, Signed(headers, post.body)) == told
            except ForgedEventError:
                continue

    def test_a_changed_body_is_forged_or_is_known_by_its_nonce(self, source: EventSource, sender: EventSender) -> None:
        """Where the signature does not cover the body, its nonce does not survive a change of the body unseen."""
        [post] = sender.post(Told(EventKind.DELIVERED))
        nonce = _read(source, post).nonce

        changed = Signed(post.headers, post.body.replace(b"m-1", b"m-2"))
        assert changed.body != post.body
        if sender.covers_body:
            with pytest.raises(ForgedEventError):
                _read(source, changed)
        else:
            assert nonce
            assert _read(source, changed).nonce == nonce

    def test_two_posts_have_two_nonces(self, source: EventSource, sender: EventSender) -> None:
        """Or none, where none is needed."""
        posts = [*sender.post(Told(EventKind.DELIVERED)), *sender.post(Told(EventKind.DELIVERED))]

        nonces = [_read(source, post).nonce for post in posts]

        assert len(set(nonces)) == (1 if sender.covers_body else 2)

    def test_a_repetition_is_read_as_long_as_the_provider_repeats(
        self, source: EventSource, sender: EventSender
    ) -> None:
        """A receiver that was away for hours loses no event."""
        [post] = sender.post(Told(EventKind.DELIVERED), at=NOW - sender.repeats_for)

        assert _read(source, post).events

    def test_an_older_post_is_forged(self, source: EventSource, sender: EventSender) -> None:
        """No provider repeats it any more: somebody kept it."""
        [post] = sender.post(Told(EventKind.DELIVERED), at=NOW - sender.repeats_for - 2 * _HOUR)

        with pytest.raises(ForgedEventError):
            _read(source, post)

    def test_clocks_may_differ_by_minutes_and_no_more(self, source: EventSource, sender: EventSender) -> None:
        [near], [far] = (sender.post(Told(EventKind.DELIVERED), at=NOW + ahead) for ahead in (60.0, _HOUR))

        assert _read(source, near).events
        with pytest.raises(ForgedEventError):
            _read(source, far)

    def test_a_refusal_shows_nothing(self, source: EventSource, sender: EventSender) -> None:
        """Neither an address nor a signature that would have done."""
        [post] = sender.with_other_key().post(Told(EventKind.DELIVERED))
        [genuine] = sender.post(Told(EventKind.DELIVERED))

        with pytest.raises(ForgedEventError) as caught:
            _read(source, post)

        shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
        assert "hidden" not in shown
        assert not any(len(value) > 20 and value in shown for value in genuine.headers.values())
