"""Runs the functions framework's own server for one target."""

from math import ceil
from pathlib import Path
from typing import Final

from functions_framework import create_app
from functions_framework._http import create_server

from postman.entrypoints.functions.settings import FunctionSettings

__all__ = ["run"]

_CLOSING: Final = 2
"""Seconds beyond the grace after which the server's processes are killed."""


def run(target: str, settings: FunctionSettings, *, host: str, port: int) -> None:
    """Serve *target* until SIGTERM or SIGINT; ends the process."""
    app = create_app(target, str(Path(__file__).with_name("main.py")))  # type: ignore[no-untyped-call]
    patience = ceil(settings.chosen.grace) + _CLOSING
    server = create_server(app, debug=False, graceful_timeout=patience, control_socket_disable=True)  # type: ignore[no-untyped-call]
    server.run(f"[{host}]" if ":" in host else host, port)
