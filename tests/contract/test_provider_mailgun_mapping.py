"""What Mailgun is told of mails that adapters get wrong, field by field and by its official specification."""

import asyncio
import re
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import SecretStr

from postman.adapters.mailgun import Mailgun
from postman.core.mail import Mail
from postman.errors import RouteRefusedError
from postman.ports.opening import ProviderSpec
from postman.testing.hard_mails import HARD_MAILS

_SPECS = Path(__file__).resolve().parents[2].parent / "shared" / "facts" / "specs"

_OWN_ID = f"<postman.{sha256(b'hard').hexdigest()[:32]}@mg.example.org>"

_REFUSED = ("only cc and bcc", "four tags", "inline image with a slash in its id", "many headers and much metadata")
_TAKEN: Mapping[str, Mapping[str, list[str]]] = {
    "plain": {
        "from": ["shop@mg.example.org"],
        "to": ["ann@example.org"],
        "cc": [],
        "bcc": [],
        "subject": ["Hello"],
        "text": ["Hi"],
        "html": [],
        "h:Message-Id": [_OWN_ID],
        "h:Reply-To": [],
        "o:suppress-headers": ["X-Mailgun-Variables"],
        "o:tag": [],
        "attachment": [],
        "inline": [],
    },
    "quoted name": {
        "to": ['"Zoë \\"Z\\" O\'Brien, Ltd.; Käufer \\\\ Söhne <x@example.org>" <ann@example.org>'],
    },
    "international domains": {
        "from": ["shop@xn--bcher-kva.example"],
        "to": ["ann@xn--bcher-kva.example"],
        "h:Reply-To": ["desk@xn--bcher-kva.example"],
    },
    "long name": {"to": [f'"{"Ж" * 200}" <ann@example.org>']},
    "long subject": {"subject": ["Receipts, of May, June, July" + ", and so on" * 10]},
    "empty subject": {"subject": [""]},
    "one reply-to": {"h:Reply-To": ["bob@example.org"]},
    "two reply-tos": {"h:Reply-To": ['"A, B" <ann@example.org>, bob@example.org']},
    "the same reply-to twice": {"h:Reply-To": ['bob@example.org, "Bob" <bob@example.org>']},
    "all kinds of recipients": {"to": ["ann@example.org"], "cc": ["bob@example.org"], "bcc": ["eve@example.org"]},
    "only HTML": {"text": [], "html": ["<p>Hi"]},
    "text and HTML": {"text": ["Hi"], "html": ["<p>Hi"]},
    "only an attachment": {"text": [" "], "html": [], "attachment": ["a.bin|application/octet-stream|a"]},
    "international filename": {"attachment": ["Übersicht 2026.pdf|application/pdf|%PDF"], "inline": []},
    "empty attachment": {"attachment": ["empty.txt|text/plain|"]},
    "attachment in another charset": {"attachment": ["a.txt|text/plain; charset=iso-8859-1|Zo\xeb"]},
    "attachment in no charset": {"attachment": ["a.txt|text/plain; charset=no-such-charset|\xff\xfe"]},
    "attachment with bytes of any kind": {
        "attachment": ["a.bin|application/octet-stream|" + bytes(range(256)).decode("latin-1")]
    },
    "inline image": {"inline": ["logo@shop|image/png|\x89PNG\r\n\x1a\n\x00"], "attachment": []},
    "extension that lies": {"attachment": ["a.pdf|text/csv|x"]},
    "international metadata": {"v:order": ["1042"], "v:city": ["Zürich"]},
    "three tags": {"o:tag": ["receipt", "shop", "eu"]},
    "own headers": {"h:Message-Id": ["<order-1042@shop.example>"], "h:message-id": [], "h:X-Order": ["1042"]},
    "international id": {"v:mail_id": ["Bestellung Nr. 1042 für Zoë"]},
    "id with quotes": {"v:mail_id": ["a\"b'c\\d"]},
    "to be sent later": {"o:deliverytime": []},
}


def _mailgun(requests: list[httpx.Request], document: object) -> Mailgun:
    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json=document)

    spec = ProviderSpec("mailgun", "mailgun", SecretStr("key"), options={"domain": "mg.example.org"})
    return Mailgun(spec, transport=httpx.MockTransport(answer))


def _request(mail: Mail) -> httpx.Request:
    requests: list[httpx.Request] = []
    accepted = {"id": "<a@mg.example.org>", "message": "Queued. Thank you."}
    asyncio.run(_mailgun(requests, accepted).send(mail))
    [request] = requests
    return request


def _form(request: httpx.Request) -> dict[str, list[str]]:
    """Read a multipart form by its boundary; a file becomes ``filename|type|content``."""
    kind, _, boundary = request.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/form-data"
    fields: dict[str, list[str]] = defaultdict(list)
    for part in request.content.split(b"--" + boundary.encode())[1:-1]:
        head, _, body = part.removeprefix(b"\r\n").removesuffix(b"\r\n").partition(b"\r\n\r\n")
        name, value = _field(head.decode(), body)
        fields[name].append(value)
    return fields


def _field(head: str, body: bytes) -> tuple[str, str]:
    name = re.search(r'; name="([^"]*)"', head)
    filename = re.search(r'; filename="([^"]*)"', head)
    kind = re.search(r"(?i)content-type: (.*)", head)
    assert name is not None
    assert "filename*" not in head
    if filename is None:
        return name[1], body.decode()
    assert kind is not None
    return name[1], f"{filename[1]}|{kind[1].strip()}|{body.decode('latin-1')}"


@cache
def _spec() -> Any:
    path = _SPECS / "mailgun_openapi.yaml"
    if not path.exists():
        pytest.skip("official specifications not found beside the project")
    return yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def test_each_hard_mail_is_spoken_of() -> None:
    """A mail added to the list gets its expectation here."""
    assert sorted([*_TAKEN, *_REFUSED]) == sorted(HARD_MAILS)


@pytest.mark.parametrize("name", _TAKEN)
def test_each_field_arrives(name: str) -> None:
    """What the mail says is what Mailgun is told, in its own form."""
    request = _request(HARD_MAILS[name])

    form = _form(request)
    assert (request.method, str(request.url)) == ("POST", "https://api.mailgun.net/v3/mg.example.org/messages")
    assert request.headers["authorization"] == "Basic YXBpOmtleQ=="
    assert {field: form.get(field, []) for field in _TAKEN[name]} == dict(_TAKEN[name])
    assert form["v:mail_id"] == [HARD_MAILS[name].id]


@pytest.mark.parametrize("name", _REFUSED)
def test_what_it_takes_in_no_form_is_left_to_others(name: str) -> None:
    """The route is refused, not the mail, and no request is made."""
    with pytest.raises(RouteRefusedError):
        _request(HARD_MAILS[name])


@pytest.mark.parametrize("name", _TAKEN)
def test_requests_obey_the_specification(name: str) -> None:
    """Each form has the fields that Mailgun's own schema wants, of its types, and no unknown ones."""
    operation = _spec()["paths"]["/v3/{domain_name}/messages"]["post"]
    schema_of = operation["requestBody"]["content"]["multipart/form-data"]["schema"]["$ref"].rpartition("/")[2]
    schema = _spec()["components"]["schemas"][schema_of]

    form = _form(_request(HARD_MAILS[name]))

    lists = {field for field, each in schema["properties"].items() if each["type"] == "array"}
    assert all(len(values) == 1 for field, values in form.items() if field not in lists)
    document = {field: values if field in lists else values[0] for field, values in form.items()}
    Draft202012Validator(schema).validate(document)
    assert all(field in schema["properties"] or field.startswith(("h:", "v:")) for field in form)


def _question() -> httpx.Request:
    requests: list[httpx.Request] = []
    asyncio.run(_mailgun(requests, {"items": []}).look_up(HARD_MAILS["own headers"]))
    [request] = requests
    return request


def test_look_ups_ask_by_message_id() -> None:
    """The question names the Message-ID without its brackets, and the events that prove an acceptance."""
    request = _question()

    assert (request.method, request.url.path) == ("GET", "/v3/mg.example.org/events")
    assert request.url.params["message-id"] == "order-1042@shop.example"
    assert request.url.params["event"] == "accepted OR delivered OR failed"


def test_look_ups_obey_the_specification() -> None:
    """The question has only parameters that Mailgun's own description names, within their limits."""
    given = dict(_question().url.params)

    operation = _spec()["paths"]["/v3/{domain_name}/events"]["get"]
    known = {each["name"]: each for each in operation["parameters"] if each["in"] == "query"}
    assert set(given) <= set(known)
    Draft202012Validator(known["limit"]["schema"]).validate(int(given["limit"]))
