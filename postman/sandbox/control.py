"""The control interface: JSON over HTTP on its own port."""

import orjson
from aiohttp import web

from postman.sandbox.access import ACCESS, error_answer, json_response, provider_of
from postman.sandbox.documents import census, summary, whole
from postman.sandbox.faults import FaultError, FaultKind, read_fault, read_faults
from postman.sandbox.mails import SentMail
from postman.sandbox.settings import ProviderName, SettingError

__all__ = ["control_routes"]


async def _document(request: web.Request) -> object:
    try:
        return orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise SettingError("", "the body must be JSON") from error


def _whole_number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not text.isdecimal():
        raise SettingError(name, "must be a whole number from 0")
    return int(text)


async def _health(_: web.Request) -> web.Response:
    return json_response({"status": "ok"})


async def _mails(request: web.Request) -> web.Response:
    store = request.app[ACCESS].store
    limit, offset = _whole_number(request, "limit"), _whole_number(request, "offset") or 0
    mails = list(store.newest_first(provider=_provider_filter(request), mail_id=request.query.get("mail_id")))
    shown = mails[offset : None if limit is None else offset + limit]
    return json_response({**census(mails), "mails": [summary(mail) for mail in shown]})


def _provider_filter(request: web.Request) -> ProviderName | None:
    name = request.query.get("provider")
    if name is None:
        return None
    if name not in set(ProviderName):
        raise SettingError("provider", "must be sendgrid or mailgun")
    return ProviderName(name)


async def _mail(request: web.Request) -> web.Response:
    found: list[SentMail] = request.app[ACCESS].store.with_message_id(
        provider_of(request), request.match_info["message_id"]
    )
    if not found:
        return error_answer(404, "message_id", "no such mail")
    return json_response(whole(found[-1], copies=len(found)))


async def _forget(request: web.Request) -> web.Response:
    request.app[ACCESS].forget()
    return web.Response(status=204)


async def _stats(request: web.Request) -> web.Response:
    access = request.app[ACCESS]
    return json_response({**access.stats.document(), "distinct": access.store.distinct})


async def _settings(request: web.Request) -> web.Response:
    return json_response(request.app[ACCESS].live.document())


async def _change_settings(request: web.Request) -> web.Response:
    live = request.app[ACCESS].live
    live.change(await _document(request))
    return json_response(live.document())


async def _all_faults(request: web.Request) -> web.Response:
    return json_response({provider.value: _faults_of(request, provider) for provider in ProviderName})


async def _faults(request: web.Request) -> web.Response:
    provider = provider_of(request)
    return json_response({"provider": provider, "faults": _faults_of(request, provider)})


def _faults_of(request: web.Request, provider: ProviderName) -> list[dict[str, object]]:
    return [fault.document() for fault in request.app[ACCESS].faults.of(provider)]


async def _put_faults(request: web.Request) -> web.Response:
    """Set the one fault given beside the others, or exactly the several that are given."""
    provider, document = provider_of(request), await _document(request)
    control = request.app[ACCESS].faults
    if isinstance(document, list) or (isinstance(document, dict) and "faults" in document):
        await control.replace(provider, read_faults(document))
    else:
        await control.add(provider, read_fault(document))
    return await _faults(request)


async def _clear_faults(request: web.Request) -> web.Response:
    kind = request.query.get("kind")
    if kind is not None and kind not in set(FaultKind):
        raise FaultError("kind", f"must be one of {', '.join(FaultKind)}")
    provider = provider_of(request) if "provider" in request.match_info else None
    await request.app[ACCESS].faults.clear(provider, None if kind is None else FaultKind(kind))
    return web.Response(status=204)


def control_routes() -> list[web.RouteDef]:
    """Return the routes of the control interface."""
    return list(_ROUTES)


_ROUTES = [
    web.get("/healthz", _health),
    web.get("/api/mails", _mails),
    web.delete("/api/mails", _forget),
    web.get("/api/mails/{provider}/{message_id:.+}", _mail),
    web.get("/api/stats", _stats),
    web.get("/api/settings", _settings),
    web.put("/api/settings", _change_settings),
    web.get("/api/faults", _all_faults),
    web.delete("/api/faults", _clear_faults),
    web.get("/api/faults/{provider}", _faults),
    web.put("/api/faults/{provider}", _put_faults),
    web.delete("/api/faults/{provider}", _clear_faults),
]
