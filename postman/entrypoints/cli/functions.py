"""`postman functions`: one of the functions, on the functions framework's server."""

import os
from enum import StrEnum
from typing import Annotated

import typer

from postman.errors import ConfigError

__all__ = ["functions"]


class _Target(StrEnum):
    DELIVER = "deliver"
    EVENTS = "events"
    INGRESS = "ingress"


def functions(
    target: Annotated[_Target, typer.Argument(help="Which function to serve.")],
    *,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="PORT", min=1, max=65_535, help="Port to listen on.")] = 8080,
) -> None:
    """Serve one function by the functions framework, until SIGTERM or SIGINT. Needs the extra "functions".

    deliver takes the mails that a push subscription pushes (POSTMAN_PUSH_ACCOUNT, POSTMAN_PUSH_AUDIENCE), ingress
    takes mails (POSTMAN_INGRESS_KEYS), events the providers' events.
    """
    try:
        from postman.entrypoints.functions.server import run
        from postman.entrypoints.functions.settings import FunctionSettings
    except ImportError as error:
        raise ConfigError(f"functions: lacks a library: {error.name}; install postman[functions]") from error
    run(target, FunctionSettings.from_env(os.environ, target), host=host, port=port)
