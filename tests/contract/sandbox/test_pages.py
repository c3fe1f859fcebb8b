"""The inbox page."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

from postman.sandbox import Sandbox

Make = Callable[..., dict[str, Any]]
HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"


class Elements(HTMLParser):
    """Collects the elements of a page with their attributes, as a browser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


async def send(sendgrid: httpx.AsyncClient, document: dict[str, Any]) -> None:
    assert (await sendgrid.post("/v3/mail/send", json=document)).status_code == 202


def hostile(document: Make) -> dict[str, Any]:
    mail: dict[str, Any] = document(
        HOSTILE,
        subject=HOSTILE,
        headers={"X-Evil": HOSTILE},
        categories=[HOSTILE],
        content=[{"type": "text/plain", "value": HOSTILE}, {"type": "text/html", "value": HOSTILE}],
        attachments=[{"content": "PGI+", "filename": HOSTILE, "type": "text/html"}],
    )
    mail["from"]["name"] = HOSTILE
    mail["personalizations"][0]["to"][0]["name"] = HOSTILE
    return mail


@pytest.mark.parametrize("path", ["/", f"/?q={HOSTILE}", "/mails/1"])
async def test_a_hostile_mail_stays_text(
    control: httpx.AsyncClient, sendgrid: httpx.AsyncClient, document: Make, path: str
) -> None:
    await send(sendgrid, hostile(document))

    answer = await control.get(path)
    page = Elements(answer.text)

    assert answer.status_code == 200
    assert not page.all("script")
    assert not page.all("img")
    assert not any(name.startswith("on") for _, attributes in page.found for name in attributes)
    assert "&lt;script&gt;" in answer.text


@pytest.mark.parametrize("path", ["/", "/mails/1"])
async def test_pages_forbid_scripts_framing_and_foreign_things(
    control: httpx.AsyncClient, sendgrid: httpx.AsyncClient, document: Make, path: str
) -> None:
    await send(sendgrid, document())

    answer = await control.get(path)

    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", answer.text)


async def test_html_is_shown_in_a_frame_that_may_do_nothing(
    control: httpx.AsyncClient, sendgrid: httpx.AsyncClient, document: Make
) -> None:
    html = '<img src="cid:logo"><p>Thanks</p>'
    picture = {
        "content": "cG5n",
        "filename": "l.png",
        "type": "image/png",
        "disposition": "inline",
        "content_id": "logo",
    }
    await send(sendgrid, document(content=[{"type": "text/html", "value": html}], attachments=[picture]))

    [frame] = Elements((await control.get("/mails/1")).text).all("iframe")

    assert frame["sandbox"] in (None, "")
    assert frame["srcdoc"] == '<img src="/mails/1/attachments/0"><p>Thanks</p>'
    assert frame["title"]


@pytest.mark.parametrize(("declared", "served"), [("text/html", "text/html"), ("nonsense", "application/octet-stream")])
async def test_attachments_are_downloads(
    control: httpx.AsyncClient, sendgrid: httpx.AsyncClient, document: Make, declared: str, served: str
) -> None:
    await send(sendgrid, document(attachments=[{"content": "PGI+", "filename": 'a"b\r\nü.html', "type": declared}]))

    answer = await control.get("/mails/1/attachments/0")

    assert answer.content == b"<b>"
    assert answer.headers["Content-Type"] == served
    assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''a%22b%0D%0A%C3%BC.html"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]


async def test_raw_json_is_the_whole_mail(
    control: httpx.AsyncClient, sendgrid: httpx.AsyncClient, document: Make
) -> None:
    await send(sendgrid, document("m-1"))

    raw = (await control.get("/mails/1.json")).json()

    assert (raw["mail_id"], raw["text"], raw["provider"]) == ("m-1", "Thanks", "sendgrid")


@pytest.mark.parametrize(
    ("query", "subjects"),
    [
        ("q=apple", ["Apple"]),
        ("q=BOB@", ["Pear"]),
        ("q=m-2", ["Pear"]),
        ("q=shop@", ["Pear", "Apple"]),
        ("q=plum", []),
        ("provider=mailgun", []),
        ("provider=sendgrid&q=pear", ["Pear"]),
    ],
)
async def test_the_search_looks_at_subjects_addresses_and_ids(
    control: httpx.AsyncClient, sendgrid: httpx.AsyncClient, document: Make, query: str, subjects: list[str]
) -> None:
    await send(sendgrid, document("m-1", subject="Apple"))
    await send(sendgrid, document("m-2", to="bob@example.com", subject="Pear"))

    page = (await control.get(f"/?{query}")).text

    assert re.findall(r'<a href="/mails/\d+">(.*?)</a>', page) == subjects


async def test_many_mails_are_shown_in_pages(
    control: httpx.AsyncClient, sendgrid: httpx.AsyncClient, document: Make
) -> None:
    for number in range(60):
        await send(sendgrid, document(f"m-{number}", subject=f"Number {number}."))

    first, second = (await control.get("/")).text, (await control.get("/?page=2")).text

    assert len(re.findall(r"Number \d+\.", first)) == 50
    assert "Number 59." in first
    assert len(re.findall(r"Number \d+\.", second)) == 10
    assert "Number 0." in second
    assert 'rel="next"' in first
    assert 'rel="next"' not in second


@pytest.mark.parametrize("query", ["page=0", "page=x", "page=99999", "provider=ses", "refresh=1"])
async def test_odd_addresses_show_a_page_all_the_same(control: httpx.AsyncClient, query: str) -> None:
    assert (await control.get(f"/?{query}")).status_code == 200


async def test_a_mail_accepted_twice_says_so_and_links_its_copies(
    control: httpx.AsyncClient, sendgrid: httpx.AsyncClient, document: Make
) -> None:
    await send(sendgrid, document())
    await send(sendgrid, document())

    assert 'href="/mails/2"' in (await control.get("/mails/1")).text


async def test_faults_are_set_shown_and_cleared_by_forms(control: httpx.AsyncClient, sandbox: Sandbox) -> None:
    fields = {"kind": "slow", "seconds": "0.5", "rate": "", "only": "send", "status": "", "count": "3"}
    answer = await control.post("/faults/sendgrid", data=fields, headers={"Origin": sandbox.url})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    [fault] = sandbox.faults.of("sendgrid")
    assert fault.document() == {"kind": "slow", "rate": 1.0, "seconds": 0.5, "only": "send", "count": 3}
    assert "Clear slow at sendgrid" in (await control.get("/")).text

    assert (await control.post("/faults/sendgrid/clear", data={"kind": "slow"})).status_code == 303
    assert not sandbox.faults.of("sendgrid")


@pytest.mark.parametrize(
    "fields", [{"kind": "slow"}, {"kind": "down", "rate": "often"}, {"kind": "refuse", "rate": "1"}]
)
async def test_a_wrong_fault_in_a_form_is_explained_on_the_page(
    control: httpx.AsyncClient, sandbox: Sandbox, fields: dict[str, str]
) -> None:
    answer = await control.post("/faults/sendgrid", data=fields)

    assert answer.status_code == 422
    assert "The fault was not set" in answer.text
    assert not sandbox.faults.of("sendgrid")


async def test_the_style_is_served_from_here(control: httpx.AsyncClient) -> None:
    answer = await control.get("/style.css")

    assert answer.headers["Content-Type"].startswith("text/css")
    assert "prefers-color-scheme: dark" in answer.text
