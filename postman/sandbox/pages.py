"""The inbox: pages made on the server, without scripts and without anything from elsewhere.

A mail's HTML is shown in a frame with an empty ``sandbox``, so it runs no script, sends no form and reaches no parent;
the policy of the page, which the frame inherits, lets it load pictures of its own mail only.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from urllib.parse import quote, urlencode

import jinja2
from aiohttp import web

from postman.sandbox.access import ACCESS, json_response, provider_of
from postman.sandbox.documents import whole
from postman.sandbox.faults import FaultError, FaultKind, Traffic, read_fault
from postman.sandbox.mails import SentMail
from postman.sandbox.settings import ProviderName
from postman.sandbox.store import DROPPED

__all__ = ["page_routes"]

_TEMPLATES = Path(__file__).with_name("templates")
_PER_PAGE = 50
_POLICY = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+")
_UNKNOWN_TYPE = "application/octet-stream"
_NUMBERS = {"rate": float, "seconds": float, "status": int, "count": int}
_REFRESH_SECONDS = 5


def _moment(unix_time: float) -> str:
    return datetime.fromtimestamp(unix_time, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _size(size: int) -> str:
    return f"{size} B" if size < 1024 else f"{size / 1024:.1f} kB" if size < 1024**2 else f"{size / 1024**2:.1f} MB"


def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["moment"] = _moment
    environment.filters["size"] = _size
    return environment


_ENVIRONMENT = _templates()


def _page(template: str, values: Mapping[str, object], status: int = 200) -> web.Response:
    text = _ENVIRONMENT.get_template(template).render(values)
    return web.Response(status=status, text=text, content_type="text/html", headers=_HEADERS)


async def _inbox(request: web.Request) -> web.Response:
    return _inbox_page(request)


def _inbox_page(request: web.Request, *, status: int = 200, problem: str = "") -> web.Response:
    access = request.app[ACCESS]
    query, provider = request.query.get("q", "").strip(), _chosen(request)
    page = _page_number(request.query.get("page", "1"))
    found, total = _select(access.store.newest_first(provider=provider), query, page)
    if not query:
        total = len(access.store) if provider is None else access.store.by_provider[provider]
    values = {
        "mails": found,
        "total": total,
        "first": (page - 1) * _PER_PAGE + 1,
        "page": page,
        "pages": max(1, -(-total // _PER_PAGE)),
        "query": query,
        "provider": provider,
        "link": _Links(query, provider, refreshing="refresh" in request.query),
        "refresh": _REFRESH_SECONDS,
        "accepted": len(access.store),
        "distinct": access.store.distinct,
        "duplicates": len(access.store.duplicates),
        "by_provider": access.store.by_provider,
        "faults": {name: access.faults.of(name) for name in ProviderName},
        "kinds": list(FaultKind),
        "traffics": list(Traffic),
        "problem": problem,
    }
    return _page("inbox.html", values, status)


class _Links:
    """Addresses of the inbox that keep what was chosen."""

    def __init__(self, query: str, provider: ProviderName | None, *, refreshing: bool) -> None:
        self._kept = {"q": query, "provider": provider or ""}
        self.refreshing = refreshing

    def to(self, page: int, *, refreshing: bool = False) -> str:
        chosen = {name: value for name, value in self._kept.items() if value}
        if page > 1:
            chosen["page"] = str(page)
        if refreshing:
            chosen["refresh"] = "1"
        return f"/?{urlencode(chosen)}" if chosen else "/"


def _chosen(request: web.Request) -> ProviderName | None:
    name = request.query.get("provider", "")
    return ProviderName(name) if name in set(ProviderName) else None


def _page_number(text: str) -> int:
    return max(1, int(text)) if text.isdecimal() and len(text) < 10 else 1


def _select(mails: Iterable[SentMail], query: str, page: int) -> tuple[list[SentMail], int]:
    """Return one page of what matches *query*, and how many match in all; without a query they are not counted."""
    start, wanted = (page - 1) * _PER_PAGE, query.lower()
    if not query:
        return list(islice(mails, start, start + _PER_PAGE)), 0
    matching = [mail for mail in mails if wanted in _searchable(mail)]
    return matching[start : start + _PER_PAGE], len(matching)


def _searchable(mail: SentMail) -> str:
    draft = mail.draft
    addresses = (str(each) for each in (draft.from_, *mail.recipients))
    return "\n".join((draft.subject, draft.mail_id, draft.message_id, *draft.tags, *addresses)).lower()


def _found(request: web.Request) -> SentMail:
    text = request.match_info["number"]
    mail = request.app[ACCESS].store.get(int(text)) if len(text) < 16 else None
    if mail is None:
        raise web.HTTPNotFound(text="no such mail\n")
    return mail


async def _mail(request: web.Request) -> web.Response:
    mail = _found(request)
    store = request.app[ACCESS].store
    copies = [each for each in store.newest_first(mail_id=mail.draft.mail_id) if each.number != mail.number]
    values = {
        "mail": mail,
        "draft": mail.draft,
        "html": _with_pictures(mail),
        "dropped": mail.draft.body is DROPPED,
        "copies": copies if mail.draft.mail_id else [],
    }
    return _page("mail.html", values)


def _with_pictures(mail: SentMail) -> str:
    """Return the mail's HTML with its inline pictures addressed where they can be had here."""
    html = mail.draft.body.html
    for index, attachment in enumerate(mail.draft.body.attachments):
        if attachment.content_id:
            html = html.replace(f"cid:{attachment.content_id}", f"/mails/{mail.number}/attachments/{index}")
    return html


async def _raw(request: web.Request) -> web.Response:
    mail = _found(request)
    copies = request.app[ACCESS].store.with_message_id(mail.provider, mail.draft.message_id)
    return json_response(whole(mail, copies=len(copies)))


async def _attachment(request: web.Request) -> web.Response:
    attachments = _found(request).draft.body.attachments
    index = int(request.match_info["index"])
    if index >= len(attachments):
        raise web.HTTPNotFound(text="no such attachment\n")
    attachment = attachments[index]
    kind = attachment.content_type.partition(";")[0].strip()
    headers = {
        **_HEADERS,
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(attachment.filename, safe='')}",
        "Content-Type": kind if _MEDIA_TYPE.fullmatch(kind) else _UNKNOWN_TYPE,
    }
    return web.Response(body=attachment.content, headers=headers)


async def _set_fault(request: web.Request) -> web.Response:
    provider = provider_of(request)
    form = {name: str(value).strip() for name, value in (await request.post()).items()}
    try:
        fault = read_fault({name: _typed(name, text) for name, text in form.items() if text})
    except FaultError as error:
        return _inbox_page(request, status=422, problem=f"{error.field} {error.problem}")
    await request.app[ACCESS].faults.add(provider, fault)
    raise web.HTTPSeeOther("/")


def _typed(name: str, text: str) -> object:
    if name not in _NUMBERS:
        return text
    try:
        return _NUMBERS[name](text)
    except ValueError as error:
        raise FaultError(name, "must be a number") from error


async def _clear_faults(request: web.Request) -> web.Response:
    form = await request.post()
    kind = str(form.get("kind", ""))
    chosen = FaultKind(kind) if kind in set(FaultKind) else None
    await request.app[ACCESS].faults.clear(provider_of(request), chosen)
    raise web.HTTPSeeOther("/")


async def _style(_: web.Request) -> web.Response:
    text = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
    return web.Response(text=text, content_type="text/css", headers={"X-Content-Type-Options": "nosniff"})


def page_routes() -> list[web.RouteDef]:
    """Return the routes of the pages."""
    return [
        web.get("/", _inbox),
        web.get("/style.css", _style),
        web.get(r"/mails/{number:\d+}", _mail),
        web.get(r"/mails/{number:\d+}.json", _raw),
        web.get(r"/mails/{number:\d+}/attachments/{index:\d{1,6}}", _attachment),
        web.post("/faults/{provider}", _set_fault),
        web.post("/faults/{provider}/clear", _clear_faults),
    ]
