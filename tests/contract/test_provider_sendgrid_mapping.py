"""What SendGrid is told of mails that adapters get wrong, field by field and by its official specification."""

import asyncio
import json
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import SecretStr

from postman.adapters.sendgrid import SendGrid
from postman.core.mail import Mail
from postman.errors import ProviderError, RouteRefusedError
from postman.ports.opening import ProviderSpec
from postman.testing.hard_mails import HARD_MAILS

_SPECS = Path(__file__).resolve().parents[2].parent / "shared" / "facts" / "specs"
_SCHEMA = "components/requestBodies/PostMailSend/content/application~1json/schema"

_ANN = {"email": "ann@example.org"}
_BOB = {"email": "bob@example.org"}
_OWN_ID = f"<postman.{sha256(b'hard').hexdigest()[:32]}@mg.example.org>"

_REFUSED = ("only cc and bcc", "empty subject", "empty attachment")
_TAKEN: Mapping[str, Mapping[str, object]] = {
    "plain": {
        "personalizations": [{"to": [_ANN], "custom_args": {"mail_id": "hard"}}],
        "from": {"email": "shop@mg.example.org"},
        "subject": "Hello",
        "content": [{"type": "text/plain", "value": "Hi"}],
        "headers": {"Message-ID": _OWN_ID},
        "attachments": None,
        "categories": None,
        "reply_to": None,
        "reply_to_list": None,
    },
    "quoted name": {"personalizations.0.to.0.name": 'Zoë "Z" O\'Brien, Ltd.; Käufer \\ Söhne <x@example.org>'},
    "international domains": {
        "from.email": "shop@xn--bcher-kva.example",
        "personalizations.0.to.0.email": "ann@xn--bcher-kva.example",
        "reply_to.email": "desk@xn--bcher-kva.example",
    },
    "long name": {"personalizations.0.to.0.name": "Ж" * 200},
    "long subject": {"subject": "Receipts, of May, June, July" + ", and so on" * 10},
    "one reply-to": {"reply_to": _BOB, "reply_to_list": None},
    "two reply-tos": {"reply_to_list": [{**_ANN, "name": "A, B"}, _BOB], "reply_to": None},
    "the same reply-to twice": {"reply_to": {**_BOB, "name": "Bob"}, "reply_to_list": None},
    "all kinds of recipients": {
        "personalizations.0.to": [_ANN],
        "personalizations.0.cc": [_BOB],
        "personalizations.0.bcc": [{"email": "eve@example.org"}],
    },
    "only HTML": {"content": [{"type": "text/html", "value": "<p>Hi"}]},
    "text and HTML": {
        "content": [{"type": "text/plain", "value": "Hi"}, {"type": "text/html", "value": "<p>Hi"}],
    },
    "only an attachment": {"content": [{"type": "text/plain", "value": " "}]},
    "international filename": {
        "attachments": [
            {
                "content": "JVBERg==",
                "type": "application/pdf",
                "filename": "Übersicht 2026.pdf",
                "disposition": "attachment",
            }
        ]
    },
    "attachment in another charset": {"attachments.0.content": "Wm/r", "attachments.0.type": "text/plain"},
    "attachment in no charset": {"attachments.0.content": "//4=", "attachments.0.type": "text/plain"},
    "attachment with bytes of any kind": {"attachments.0.filename": "a.bin"},
    "inline image": {
        "attachments": [
            {
                "content": "iVBORw0KGgoA",
                "type": "image/png",
                "filename": "logo.png",
                "disposition": "inline",
                "content_id": "logo@shop",
            }
        ]
    },
    "inline image with a slash in its id": {"attachments.0.content_id": "a/b"},
    "extension that lies": {"attachments.0.type": "text/csv", "attachments.0.filename": "a.pdf"},
    "international metadata": {
        "personalizations.0.custom_args": {"mail_id": "hard", "order": "1042", "city": "Zürich"},
        "custom_args": None,
    },
    "three tags": {"categories": ["receipt", "shop", "eu"]},
    "four tags": {"categories": ["a", "b", "c", "d"]},
    "own headers": {"headers": {"Message-ID": "<order-1042@shop.example>", "X-Order": "1042"}},
    "international id": {"personalizations.0.custom_args.mail_id": "Bestellung Nr. 1042 für Zoë"},
    "id with quotes": {"personalizations.0.custom_args.mail_id": "a\"b'c\\d"},
    "to be sent later": {"send_at": None},
    "many headers and much metadata": {"headers.X-5": "h" * 900, "personalizations.0.custom_args.key14": "v" * 490},
}


def _request(mail: Mail) -> httpx.Request:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(202, headers={"X-Message-Id": "abc"})

    spec = ProviderSpec("sendgrid", "sendgrid", SecretStr("SG.key"))
    asyncio.run(SendGrid(spec, transport=httpx.MockTransport(answer)).send(mail))
    [request] = requests
    return request


def _at(document: object, path: str) -> object:
    """Return what is at the dotted *path*; None where nothing is."""
    for step in path.split("."):
        if isinstance(document, list):
            document = document[int(step)]
        elif isinstance(document, dict):
            document = document.get(step)
    return document


@cache
def _spec(name: str) -> Any:
    path = _SPECS / name
    if not path.exists():
        pytest.skip("official specifications not found beside the project")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_each_hard_mail_is_spoken_of() -> None:
    """A mail added to the list gets its expectation here."""
    assert sorted([*_TAKEN, *_REFUSED]) == sorted(HARD_MAILS)


@pytest.mark.parametrize("name", _TAKEN)
def test_each_field_arrives(name: str) -> None:
    """What the mail says is what SendGrid is told, in its own form."""
    request = _request(HARD_MAILS[name])

    document = json.loads(request.content)
    assert (request.method, str(request.url)) == ("POST", "https://api.sendgrid.com/v3/mail/send")
    assert request.headers["authorization"] == "Bearer SG.key"
    assert request.headers["content-type"] == "application/json"
    assert {path: _at(document, path) for path in _TAKEN[name]} == dict(_TAKEN[name])
    assert document["personalizations"][0]["custom_args"]["mail_id"] == HARD_MAILS[name].id


@pytest.mark.parametrize("name", _REFUSED)
def test_what_it_takes_in_no_form_is_left_to_others(name: str) -> None:
    """The route is refused, not the mail, and no request is made."""
    with pytest.raises(RouteRefusedError):
        _request(HARD_MAILS[name])


@pytest.mark.parametrize("name", _TAKEN)
def test_requests_obey_the_specification(name: str) -> None:
    """Each request is valid by SendGrid's own schema, and uses only what is in it."""
    spec = _spec("sendgrid_mail_v3.json")
    document = json.loads(_request(HARD_MAILS[name]).content)

    schema = {"$ref": f"#/{_SCHEMA}", "components": spec["components"]}
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(document)

    known = spec["components"]["requestBodies"]["PostMailSend"]["content"]["application/json"]["schema"]["properties"]
    assert set(document) <= set(known)
    assert set(document["personalizations"][0]) <= set(known["personalizations"]["items"]["properties"])
    for attachment in document.get("attachments", []):
        assert set(attachment) <= set(known["attachments"]["items"]["properties"])


def _question(mail: Mail) -> httpx.Request:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json={"messages": []})

    spec = ProviderSpec("sendgrid", "sendgrid", SecretStr("SG.key"), look_up_after=60.0)
    asyncio.run(SendGrid(spec, transport=httpx.MockTransport(answer)).look_up(mail))
    [request] = requests
    return request


@pytest.mark.parametrize("name", ["plain", "international id"])
def test_look_ups_ask_by_our_id(name: str) -> None:
    """The query names our custom argument, as an exact text."""
    request = _question(HARD_MAILS[name])

    assert (request.method, request.url.path) == ("GET", "/v3/messages")
    assert dict(request.url.params) == {"query": f"(unique_args['mail_id']=\"{HARD_MAILS[name].id}\")", "limit": "10"}


def test_id_that_cannot_be_quoted_is_not_asked_for() -> None:
    """SendGrid's query language has no documented escape."""
    with pytest.raises(ProviderError):
        _question(HARD_MAILS["id with quotes"])


def test_look_ups_obey_the_specification() -> None:
    """The question has the parameters that SendGrid's own description names, within their limits."""
    given = dict(_question(HARD_MAILS["plain"]).url.params)

    operation = _spec("sendgrid_email_activity_v3.yaml")["paths"]["/v3/messages"]["get"]
    known = {each["name"]: each for each in operation["parameters"]}
    assert {name for name, each in known.items() if each["required"]} <= set(given) <= set(known)
    Draft202012Validator(known["limit"]["schema"]).validate(int(given["limit"]))
