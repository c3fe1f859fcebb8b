"""What the acting pages share: who acts, forms that count once, and where to go afterwards."""

import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog
from aiohttp import web
from multidict import MultiDict

from postman.entrypoints.console.access import VISITOR, needs_act, told
from postman.entrypoints.console.acting.jobs import Jobs
from postman.entrypoints.console.notes import leave_note
from postman.entrypoints.console.pages import render
from postman.entrypoints.console.parts import PARTS, Values
from postman.errors import PostmanError

__all__ = ["DESK", "Desk", "Form", "acted", "form_of", "go", "prepared"]

_LOG = structlog.get_logger("postman.console")

_ONCE: Final = "once"
_MOST: Final = 1_000

Form = MultiDict[str]


class Desk:
    """One for each process."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self._places: OrderedDict[str, str] = OrderedDict()

    def place_of(self, once: str) -> str | None:
        """Return where the form with this number led to that was sent before; None: none was."""
        return self._places.get(once)

    def note(self, once: str, place: str) -> None:
        """Note that the form with this number was sent, and leads to *place*."""
        if once:
            self._places[once] = place
        while len(self._places) > _MOST:
            self._places.popitem(last=False)

    def forget(self, once: str) -> None:
        """Let the form be sent again: nothing came of it."""
        self._places.pop(once, None)


DESK: Final = web.AppKey("desk", Desk)


def prepared(request: web.Request, template: str, values: Values, *, current: str) -> web.Response:
    """Return a page with a form, for one who may act. Its number makes a form that is sent twice count once."""
    needs_act(request)
    return render(request, template, {**values, "once": secrets.token_hex(8), "once_field": _ONCE}, current=current)


async def acted(
    request: web.Request, act: str, back: str, do: Callable[[Form, str], Awaitable[tuple[str, str]]]
) -> web.Response:
    """Do what a form asks for, by the one who sent it; *do* returns where to go, and what to tell there.

    A mistake, or a store in trouble, is told at *back*. What was sent twice is done once.
    """
    desk, by = request.app[DESK], request[VISITOR].name
    form = form_of(await request.post())
    once = form.get(_ONCE, "")
    if known := desk.place_of(once):
        return go(known, "This was sent already, and counts once.", "note")
    desk.note(once, back)
    try:
        place, text = await do(form, by)
    except PostmanError as error:
        desk.forget(once)
        return go(back, str(error), "bad")
    desk.note(once, place)
    request.app[PARTS].stores.knowledge.forget()
    _LOG.info("acted", act=act, by=told(by))
    return go(place, text)


def form_of(posted: Mapping[str, object]) -> Form:
    """Return the texts of a form that was sent."""
    return Form((name, value) for name, value in posted.items() if isinstance(value, str))


def go(place: str, text: str = "", tone: str = "good") -> web.Response:
    """Send the visitor to *place*, where *text* is told."""
    answer = web.Response(status=303, headers={"Location": place})
    if text:
        leave_note(answer, text, tone)
    return answer
