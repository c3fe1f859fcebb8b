"""Who may use the control port, and what it may reach.

A browser on the same machine may be led here by a foreign page. So requests must name this machine in ``Host``, which
defeats DNS rebinding, and writes with a foreign ``Origin`` are refused.
"""

import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson
from aiohttp import web

from postman.errors import ConfigError
from postman.sandbox.fault_control import FaultControl
from postman.sandbox.faults import FaultError
from postman.sandbox.live import LiveSettings
from postman.sandbox.settings import ProviderName, SettingError
from postman.sandbox.stats import Stats
from postman.sandbox.store import MailStore

__all__ = ["ACCESS", "Access", "error_answer", "guarded_app", "json_response", "provider_of"]

_READS = ("GET", "HEAD", "OPTIONS")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Access:
    """What the control port may see and do."""

    store: MailStore
    stats: Stats
    faults: FaultControl
    live: LiveSettings
    forget: Callable[[], None]
    allow_remote: bool


ACCESS = web.AppKey("access", Access)


def guarded_app(access: Access) -> web.Application:
    """Return an application without routes, whose guard stands before all that are added."""
    app = web.Application(middlewares=[_guard, _named_errors])
    app[ACCESS] = access
    return app


@web.middleware
async def _guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
    if not request.app[ACCESS].allow_remote and not _is_loopback(request.host):
        return error_answer(403, "Host", "must name this machine")
    if request.method not in _READS and _is_foreign(request):
        return error_answer(403, "Origin", "another site may change nothing here")
    return await handler(request)


@web.middleware
async def _named_errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except FaultError as error:
        return error_answer(422, error.field, error.problem)
    except SettingError as error:
        return error_answer(422, error.setting, error.problem)
    except ConfigError as error:
        return error_answer(409, "", str(error))


def error_answer(status: int, field: str, problem: str) -> web.Response:
    """Return an error that names the *field* it is about."""
    return json_response({"field": field, "error": problem}, status)


def json_response(document: object, status: int = 200) -> web.Response:
    """Return *document* as JSON that nobody keeps."""
    body = orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def _is_loopback(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_foreign(request: web.Request) -> bool:
    origin = request.headers.get("Origin")
    if origin is None:
        return request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none")
    return urlsplit(origin).netloc != request.host


def provider_of(request: web.Request) -> ProviderName:
    """Return the provider that the path names; not found if it is none."""
    try:
        return ProviderName(request.match_info["provider"])
    except ValueError:
        raise web.HTTPNotFound(text="no such provider; there are sendgrid and mailgun\n") from None
