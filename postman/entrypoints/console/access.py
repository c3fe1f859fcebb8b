"""Who may look, and who may act.

On this machine whoever reaches the console may look: a request must come from
this machine and name it in `Host`, which a page of a foreign name that was
pointed here (DNS rebinding) cannot, and not have come through a proxy that says
so. Elsewhere a token is needed to look as well, or the platform in front lets
people in and says who they are (`POSTMAN_CONSOLE_IDENTITY`). To act, or to see
an address, takes a token (`POSTMAN_CONSOLE_KEYS`; without any, one that is made
at the start and printed there), or an identity among `POSTMAN_CONSOLE_OPERATORS`.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from postman.core.events import address_tag
from postman.entrypoints.console.keys import ConsoleKeys
from postman.entrypoints.console.limits import Attempts
from postman.entrypoints.console.sessions import LASTS, cookie_of, fresh_secret, name_in, proof_of, proves
from postman.ports.clock import Clock
from postman.ports.tokens import Identity, IdentityJudge, Standing

__all__ = ["FORM_FIELD", "VISITOR", "Access", "Visitor", "is_loopback", "needs_act", "set_cookie", "told"]

_LOG = structlog.get_logger("postman.console")

FORM_FIELD: Final = "form_token"
"""The field of every form that changes something; its value is `Visitor.form_token`."""
_FORM_HEADER: Final = "X-Form-Token"
_FORWARDED: Final = ("Forwarded", "X-Forwarded-For", "Via")
_SITES: Final = frozenset({"same-origin"})


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who sent a request."""

    name: str = field(default="", repr=False)
    """Of the token, or the e-mail address that the platform tells; empty: somebody at this machine."""
    may_look: bool = True
    may_act: bool = False
    cookie: str = field(default="", repr=False)
    """What forms are bound to."""

    @property
    def form_token(self) -> str:
        """What a form must send along."""
        return proof_of(self.cookie, self.name) if self.cookie else ""


VISITOR: Final = web.RequestKey("visitor", Visitor)


def needs_act(request: web.Request) -> Visitor:
    """Return who sent *request*; 403 where that one may only look, with the way to log in."""
    visitor = request[VISITOR]
    if not visitor.may_act:
        raise web.HTTPForbidden(text="To act, or to see an address, log in first.")
    return visitor


def told(name: str) -> str:
    """Return *name* as a log may have it: of an e-mail address only a tag."""
    return f"#{address_tag(name)}" if "@" in name else name


class Access:
    """The rule, for one process. *operators* are addresses and domains; empty: all whom the platform lets in."""

    def __init__(
        self,
        *,
        clock: Clock,
        keys: ConsoleKeys,
        identities: IdentityJudge | None = None,
        operators: Sequence[str] = (),
        is_local: bool = True,
    ) -> None:
        self._clock = clock
        self._keys = keys
        self._identities = identities
        self._operators = frozenset(each.lower().removeprefix("@") for each in operators)
        self._is_local = is_local
        self._attempts = Attempts(clock)

    @property
    def has_login(self) -> bool:
        """Whether one logs in by a token here."""
        return self._identities is None

    async def visitor(self, request: web.Request) -> Visitor:
        """Return who sent *request*. Raises 403 for who has no business here, 503 where it cannot be told now."""
        if self._identities is not None:
            return self._identified(request, await self._identities.identify(request.headers))
        if self._is_local:
            _check_local(request)
        cookie = request.cookies.get(_cookie_name(request), "")
        name = name_in(cookie, await self._keys.read(), self._clock.time()) if cookie else None
        if name is None:
            return Visitor(may_look=self._is_local)
        return Visitor(name, may_act=True, cookie=cookie)

    def check_origin(self, request: web.Request) -> None:
        """Raise 403 for a post that a page of another origin sent."""
        site = request.headers.get("Sec-Fetch-Site")
        origin = request.headers.get("Origin", "")
        is_ours = site in _SITES if site is not None else urlsplit(origin).netloc.lower() == request.host.lower()
        if not is_ours:
            raise web.HTTPForbidden(text="This came from another page than the console's own.")

    async def check_form(self, request: web.Request, visitor: Visitor) -> None:
        """Raise 403 where a post did not come from a form that was made for *visitor*."""
        token = request.headers.get(_FORM_HEADER) or str((await request.post()).get(FORM_FIELD, ""))
        if not proves(token, visitor.cookie, visitor.name):
            raise web.HTTPForbidden(text="This form is too old, or not of this session: go back, reload, try again.")

    async def log_in(self, request: web.Request, token: str, *, by_url: bool = False) -> tuple[str, str] | None:
        """Return the name and the cookie of who shows *token*; None for a wrong one. 429 after too many wrong ones.

        Only the token that was made at the start may stand in a URL, which may be kept where others read it.
        """
        self._attempts.check(request.remote or "")
        keys = await self._keys.read()
        fitting = [key for key in keys if key.fits(token)]
        if not fitting or (by_url and not self._keys.is_made):
            self._attempts.failed(request.remote or "")
            _LOG.warning("console_login_refused")
            return None
        _LOG.info("console_login", who=told(fitting[0].name))
        return fitting[0].name, cookie_of(fitting[0], self._clock.time())

    def keep(self, request: web.Request, answer: web.StreamResponse, visitor: Visitor) -> None:
        """Give a visitor of the platform's a cookie that forms are bound to, with the first page."""
        if visitor.cookie and request.cookies.get(_cookie_name(request)) != visitor.cookie:
            set_cookie(request, answer, visitor.cookie)

    def _identified(self, request: web.Request, identity: Identity) -> Visitor:
        if identity.standing is Standing.UNKNOWN:
            raise web.HTTPServiceUnavailable(text="It cannot be told now who you are. Try again in a minute.")
        if identity.standing is not Standing.PROVEN or not identity.address:
            raise web.HTTPForbidden(text="The platform does not say who you are.")
        domain = identity.address.rpartition("@")[2]
        may_act = not self._operators or identity.address in self._operators or domain in self._operators
        return Visitor(
            identity.address, may_act=may_act, cookie=request.cookies.get(_cookie_name(request)) or fresh_secret()
        )


def set_cookie(request: web.Request, answer: web.StreamResponse, value: str) -> None:
    """Give a session its cookie, or end it by an empty *value*."""
    answer.set_cookie(
        _cookie_name(request),
        value,
        max_age=int(LASTS) if value else 0,
        path="/",
        httponly=True,
        samesite="Strict",
        secure=_is_secure(request),
    )


def is_loopback(host: str) -> bool:
    """Whether *host* is this machine as it calls itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_local(request: web.Request) -> None:
    is_forwarded = any(name in request.headers for name in _FORWARDED)
    if is_forwarded or not is_loopback(request.remote or "") or not is_loopback(_named(request.host)):
        raise web.HTTPForbidden(text="This console is for its own machine only, by the name localhost or 127.0.0.1.")


def _named(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_secure(request: web.Request) -> bool:
    return request.secure or request.headers.get("X-Forwarded-Proto", "") == "https"


def _cookie_name(request: web.Request) -> str:
    """Cookies do not tell ports apart, so that the name must: two consoles of one machine are two."""
    try:
        port = urlsplit(f"//{request.host}").port or 0
    except ValueError:
        port = 0
    return f"__Host-postman-console-{port}" if _is_secure(request) else f"postman-console-{port}"
