"""Logging in by a token, and out again."""

from urllib.parse import urlsplit

from aiohttp import web

from postman.entrypoints.console.access import VISITOR, set_cookie
from postman.entrypoints.console.notes import leave_note
from postman.entrypoints.console.pages import render
from postman.entrypoints.console.parts import PARTS

__all__ = ["LOGIN", "login_routes"]

LOGIN = "/login"


def login_routes() -> list[web.RouteDef]:
    """Return the routes."""
    return [web.get(LOGIN, _ask), web.post(LOGIN, _log_in), web.post("/logout", _log_out)]


async def _ask(request: web.Request) -> web.Response:
    """Show the form; or take the token that the command printed as a URL, and forget that URL."""
    if "token" in request.query:
        return await _try(request, request.query["token"], "/", by_url=True)
    return render(request, "login.html", {"next": _within(request.query.get("next", "/")), "problem": ""})


async def _log_in(request: web.Request) -> web.Response:
    form = await request.post()
    return await _try(request, str(form.get("token", "")).strip(), _within(str(form.get("next", "/"))), by_url=False)


async def _try(request: web.Request, token: str, next_page: str, *, by_url: bool) -> web.Response:
    access = request.app[PARTS].access
    if not access.has_login:
        raise web.HTTPNotFound(text="The platform says who you are: there is no login here.")
    found = await access.log_in(request, token, by_url=by_url)
    if found is None:
        values = {"next": next_page, "problem": "This is not a token of this console."}
        return render(request, "login.html", values, status=401)
    answer = web.Response(status=303, headers={"Location": next_page})
    set_cookie(request, answer, found[1])
    return answer


async def _log_out(request: web.Request) -> web.Response:
    """End the session; the platform's cannot be ended here."""
    answer = web.Response(status=303, headers={"Location": "/"})
    if request.app[PARTS].access.has_login and request[VISITOR].cookie:
        set_cookie(request, answer, "")
        leave_note(answer, "You are logged out.", "note")
    return answer


def _within(target: str) -> str:
    """Return *target* where it is a page of ours, else the first page."""
    parts = urlsplit(target)
    is_ours = target.startswith("/") and not target.startswith(("//", "/\\")) and not parts.netloc and not parts.scheme
    return target if is_ours and target.isprintable() and "\\" not in target else "/"
