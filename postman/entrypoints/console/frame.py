"""Makes pages, and the parts of pages that change while somebody looks."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import jinja2
from aiohttp import web

from postman.entrypoints.console.words import FILTERS

__all__ = ["HEADERS", "asset", "fragments", "page_of", "template"]

_ROOM: Final = Path(__file__).parent
_FRAME: Final = "base.html"
_LIVE: Final = "live_"
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "Server": "postman",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Of every answer, but that static files may be kept."""
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_KEPT: Final = "public, max-age=31536000, immutable"

_ASSETS: Final = {path.name: path.read_bytes() for path in (_ROOM / "static").iterdir() if path.suffix in _TYPES}


def _versioned(name: str) -> str:
    return f"/static/{name}?v={sha256(_ASSETS[name]).hexdigest()[:12]}"


def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_ROOM / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(FILTERS)
    made.globals["static"] = _versioned
    made.globals["parts"] = made.get_template("parts.html").module  # also for blocks that are rendered alone
    return made


_ENVIRONMENT: Final = _environment()


def template(name: str) -> jinja2.Template:
    """Return the template of that name."""
    return _ENVIRONMENT.get_template(name)


def page_of(name: str, values: Mapping[str, object], *, status: int = 200) -> web.Response:
    """Return a page made by the template *name*."""
    return web.Response(status=status, text=template(name).render(values), content_type="text/html")


def fragments(name: str, values: Mapping[str, object]) -> Mapping[str, str]:
    """Return the live parts of a page by their ids: for a script that puts them in the places of the old ones."""
    found = template(name)
    context = found.new_context(dict(values))
    blocks: Mapping[str, Any] = {**template(_FRAME).blocks, **found.blocks}
    return {block: "".join(made(context)).strip() for block, made in blocks.items() if block.startswith(_LIVE)}


def asset(name: str) -> web.Response:
    """Return a static file; 404 for any other name."""
    if name not in _ASSETS:
        raise web.HTTPNotFound(text="There is no such file.")
    kind = _TYPES[Path(name).suffix]
    return web.Response(body=_ASSETS[name], content_type=kind, charset="utf-8", headers={"Cache-Control": _KEPT})
