"""`POST /v1/mails` and `GET /v1/mails/{id}` over real connections."""

from hashlib import sha256
from typing import Any
from urllib.parse import quote

import httpx
import orjson
import pytest
from structlog.testing import capture_logs

from postman.core.ids import MailId
from postman.core.shards import shard_for
from postman.entrypoints.documents import entry_document
from postman.entrypoints.serve.access import Access, read_key
from postman.entrypoints.serve.batch import MOST_MAILS
from postman.errors import ConfigError, LedgerUnavailableError
from postman.testing.ledger import HOSTILE_IDS
from tests.contract.serve.conftest import Office

KEY = "0123456789abcdef0123456789abcdef"


def mail(mail_id: str = "m-1", **changes: Any) -> dict[str, Any]:
    return {
        "id": mail_id,
        "from": {"email": "shop@example.org"},
        "to": [{"email": "hidden.person@example.org"}],
        "subject": f"Mail {mail_id}",
        "text": "hidden text",
        **changes,
    }


async def post(office: Office, document: object, **headers: str) -> httpx.Response:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    sent = {"Content-Type": "application/json", **headers}
    return await office.client.post(f"{office.url}/v1/mails", content=body, headers=sent)


async def test_one_mail_is_published_before_the_answer(office: Office) -> None:
    answer = await post(office, mail())

    assert (answer.status_code, answer.json()) == (202, [{"id": "m-1", "shard": shard_for(office.published[0].id, 8)}])
    assert [each.id for each in office.published] == ["m-1"]


async def test_a_mail_without_an_id_is_given_one(office: Office) -> None:
    document = mail()
    del document["id"]

    [line] = (await post(office, document)).json()

    assert [each.id for each in office.published] == [line["id"]]


async def test_five_hundred_mails_are_answered_in_their_order(office: Office) -> None:
    answer = await post(office, [mail(f"m-{number}") for number in range(MOST_MAILS)])

    assert answer.status_code == 202
    assert [line["id"] for line in answer.json()] == [f"m-{number}" for number in range(MOST_MAILS)]
    assert len(office.published) == MOST_MAILS


async def test_the_trace_goes_along_and_nothing_that_is_none(office: Office) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    await post(office, mail("m-1"), traceparent=trace)
    await post(office, mail("m-2"), traceparent="made up")

    assert office.traces == [{"traceparent": trace}, {}]


async def test_one_bad_mail_keeps_all_from_being_published_and_is_named(office: Office) -> None:
    bad = mail("m-3", to=[{"email": "hidden@nowhere"}])

    answer = await post(office, [mail("m-0"), mail("m-1"), mail("m-2"), bad, mail("m-4", tags=["x" * 200])])

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert [error["field"] for error in document["errors"]] == ["mails[3].to[0].email", "mails[4].tags[0]"]
    assert document["detail"].startswith("mails[3].to[0].email: ")
    assert "hidden" not in answer.text
    assert not office.published


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"to": []}, "to"),
        ({"subject": "a\r\nBcc: x@example.org"}, "subject"),
        ({"colour": "red"}, "colour"),
        ({"send_at": "2099-01-01T00:00:00Z"}, "send_at"),
        ({"id": ""}, "id"),
    ],
)
async def test_the_field_of_a_single_mail_is_named_as_it_is_called(
    office: Office, change: dict[str, Any], field: str
) -> None:
    answer = await post(office, mail(**change))

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert not office.published


async def test_a_repeated_key_is_found_in_an_array_too(office: Office) -> None:
    twice = b'[{"from":{"email":"a@example.org"},"to":[],"to":[{"email":"b@example.org"}],"text":"t"}]'

    answer = await post(office, twice)

    assert answer.json()["errors"] == [{"field": "mails[0].to", "problem": "is there twice: duplicate key"}]


async def test_one_id_stands_for_one_content(office: Office) -> None:
    """The same mail twice is no mistake: it is sent once."""
    assert (await post(office, [mail(), mail()])).status_code == 202

    answer = await post(office, [mail(), mail("m-2"), mail(text="other")])

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "mails[2].id")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"null",
        b'"x"',
        b"1",
        b"[]",
        b"{",
        b'{"to": 1} trailing',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b"NaN",
        b'{"subject": "\\ud800"}',
        b"\xff",
        orjson.dumps([{}] * (MOST_MAILS + 1)),
    ],
)
async def test_what_is_no_mail_and_no_array_of_them_is_a_bad_request(office: Office, body: bytes) -> None:
    answer = await post(office, body)

    assert answer.status_code == 400
    assert answer.json()["detail"]


@pytest.mark.parametrize("body", [b"[1]", b"[[]]", b"[null]", b"{}", b'{"x":' + b"[" * 500 + b"]" * 500 + b"}"])
async def test_what_is_json_and_no_mail_is_named(office: Office, body: bytes) -> None:
    assert (await post(office, body)).status_code == 422


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "application/json; charset=utf-16"}, 415),
        ({"Content-Encoding": "gzip"}, 415),
        ({"Content-Type": "application/json; charset=UTF-8"}, 202),
    ],
)
async def test_only_plain_json_is_taken(office: Office, headers: dict[str, str], status: int) -> None:
    assert (await post(office, mail(), **headers)).status_code == status


async def test_more_than_sixteen_mebibytes_are_too_much(office: Office) -> None:
    assert (await post(office, b" " * (16 * 1024 * 1024 + 1))).status_code == 413


async def test_a_queue_that_is_away_leaves_the_ids_to_publish_again(office: Office) -> None:
    """Also those made here: the same ids again are sent once, new ones would be a second copy."""
    without_id = mail(subject="away")
    del without_id["id"]
    office.refused.add("away")

    answer = await post(office, [mail("m-1"), without_id])

    document = answer.json()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    assert [line["published"] for line in document["mails"]] == [True, False]
    assert document["mails"][0]["id"] == "m-1"
    assert len(document["mails"][1]["id"]) == 36


async def test_what_became_of_a_mail_is_told_as_the_command_tells_it(office: Office) -> None:
    await office.sending("m-1")

    answer = await office.client.get(f"{office.url}/v1/mails/m-1")

    assert answer.json() == entry_document("m-1", await office.entry("m-1"))


@pytest.mark.parametrize("mail_id", [each for each in HOSTILE_IDS if each not in (".", "..")])
async def test_any_id_can_be_asked_for(office: Office, mail_id: str) -> None:
    await office.sending(mail_id)

    answer = await office.client.get(f"{office.url}/v1/mails/{quote(mail_id, safe='')}")

    assert (answer.status_code, answer.json().get("id")) == (200, mail_id)


@pytest.mark.parametrize(("mail_id", "status"), [("unknown", 404), ("x" * 129, 422), ("a%00b", 422), ("", 404)])
async def test_a_mail_that_is_not_known_is_not_found(office: Office, mail_id: str, status: int) -> None:
    assert (await office.client.get(f"{office.url}/v1/mails/{mail_id}")).status_code == status


async def test_a_ledger_that_is_away_is_said_to_be(office: Office) -> None:
    async def fail(_mail_id: MailId) -> None:
        raise LedgerUnavailableError("away")

    office.ledger.find = fail  # type: ignore[method-assign,assignment]

    answer = await office.client.get(f"{office.url}/v1/mails/m-1")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")


async def test_logs_hold_nothing_of_a_mail(office: Office) -> None:
    office.refused.add("hidden subject")

    with capture_logs() as logs:
        await post(office, mail())
        await post(office, mail(subject="hidden subject"))
        await post(office, mail(to=[{"email": "hidden"}]))

    assert [line["event"] for line in logs] == ["mails_published", "mails_not_published"]
    assert "hidden" not in repr(logs)


class TestWithAKey:
    @pytest.fixture
    def access(self) -> Access:
        return Access([sha256(b"another-key-of-theirs").digest(), sha256(KEY.encode()).digest()])

    async def test_each_of_the_keys_opens_the_door(self, office: Office) -> None:
        """Two are good while one is changed."""
        for key in (KEY, "another-key-of-theirs"):
            assert (await post(office, mail(), Authorization=f"Bearer {key}")).status_code == 202
        assert (await post(office, mail(), Authorization=f"bearer  {KEY}")).status_code == 202

    @pytest.mark.parametrize(
        "given",
        ["", "Bearer", "Bearer -", f"Bearer {KEY}x", f"Basic {KEY}", KEY, "Bearer " + "k" * 5_000, "Bearer \xe9"],
    )
    async def test_nothing_else_does_and_all_get_the_same_answer(self, office: Office, given: str) -> None:
        sent = {b"Authorization": given.encode("latin-1"), b"Content-Type": b"application/json"}
        wrong = await office.client.post(f"{office.url}/v1/mails", content=b"{}", headers=sent)
        missing = await post(office, mail())
        asked = await office.client.get(f"{office.url}/v1/mails/m-1", headers=sent)

        assert (wrong.status_code, missing.status_code, asked.status_code) == (401, 401, 401)
        assert wrong.text == missing.text == asked.text
        assert wrong.headers["www-authenticate"] == "Bearer"
        assert not office.published

    async def test_the_key_is_asked_for_before_the_body_is_read(self, office: Office) -> None:
        assert (await post(office, b"[" * 1_000_000)).status_code == 401

    async def test_two_keys_in_one_request_are_none(self, office: Office) -> None:
        headers = [("Authorization", f"Bearer {KEY}"), ("Authorization", f"Bearer {KEY}")]

        answer = await office.client.get(f"{office.url}/v1/mails/m-1", headers=headers)

        assert answer.status_code == 401

    async def test_events_and_health_need_none(self, office: Office) -> None:
        post_of_events = office.sendgrid.post_foreign()

        assert (await office.take("sendgrid", post_of_events)).status_code == 200
        assert (await office.client.get(f"{office.url}/healthz")).status_code == 200


class TestWithoutAKey:
    @pytest.mark.parametrize(
        "headers",
        [
            {"Host": "postman.example.org"},
            {"Host": "10.0.0.1:8080"},
            {"X-Forwarded-For": "192.0.2.1"},
            {"Forwarded": "for=192.0.2.1"},
            {"Via": "1.1 somewhere"},
        ],
    )
    async def test_only_this_machine_may_publish(self, office: Office, headers: dict[str, str]) -> None:
        """Not a page that led a browser here by another name, nor who comes through a proxy."""
        assert (await post(office, mail(), **headers)).status_code == 403
        assert not office.published

    @pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:8080"])
    async def test_it_may_call_itself_as_it_does(self, office: Office, host: str) -> None:
        assert (await post(office, mail(), Host=host)).status_code == 202


class TestWhereCallersAreTrusted:
    @pytest.fixture
    def access(self) -> Access:
        return Access(lets_all_in=True)

    async def test_all_may_publish_who_get_here(self, office: Office) -> None:
        assert (await post(office, mail(), Host="postman.example.org")).status_code == 202


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("secret-key-itself-in-the-command", "must be a reference"),
        ("env:", "must be a reference"),
        ("env:MISSING", "at least 16"),
        ("env:SHORT", "at least 16"),
        ("env:ODD", "at least 16"),
        ("file:/nowhere/at/all", "FileNotFoundError"),
    ],
)
def test_a_key_that_cannot_be_is_refused_and_not_shown(reference: str, words: str) -> None:
    environ = {"SHORT": "hunter2", "ODD": "hunter2\N{SNOWMAN}" * 3}

    with pytest.raises(ConfigError, match=words) as caught:
        read_key(reference, environ)

    assert "hunter2" not in str(caught.value)
    assert "secret-key" not in str(caught.value)
