"""The search: by id, provider's id, address or its tag. An address is hashed at once, and stands in no URL, no log."""

import re
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from postman.core.events import address_tag
from postman.core.ids import MailId, is_mail_id
from postman.entrypoints.console.parts import PARTS
from postman.entrypoints.console.words import mail_url

__all__ = ["search"]

_TAG: Final = re.compile(r"#?([0-9a-f]{12})")
_LONGEST: Final = 1_000


async def search(request: web.Request) -> web.Response:
    """Send the one who asks to what was found."""
    text = str((await request.post()).get("q", "")).strip()[:_LONGEST]
    return web.Response(status=303, headers={"Location": await _place(request, text)})


async def _place(request: web.Request, text: str) -> str:
    stores = request.app[PARTS].stores
    if is_mail_id(text) and (await stores.entry(MailId(text))).value is not None:
        return mail_url(text)
    if match := _TAG.fullmatch(text):
        return f"/search?{urlencode({'recipient': match[1]})}"
    if _is_address(text):
        return f"/search?{urlencode({'recipient': address_tag(text)})}"
    if stores.shelves is not None and text:
        found = (await stores.shelves.by_message_id(text)).value or ()
        if len(found) == 1:
            return mail_url(found[0].mail_id)
        if found:
            return f"/search?{urlencode({'message_id': text})}"
    return mail_url(text) if is_mail_id(text) else "/search"


def _is_address(text: str) -> bool:
    """Whether it looks like an address; a provider's id in angle brackets, which has an @ too, does not."""
    return "@" in text and not text.startswith("<")
