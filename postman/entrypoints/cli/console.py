"""`postman console`: the operators' pages."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from postman.entrypoints.cli.output import OUT, plain, print_json
from postman.entrypoints.cli.setup import settings
from postman.entrypoints.logs import set_up_logs

if TYPE_CHECKING:
    from postman.entrypoints.console.running import Ready

__all__ = ["console"]


def console(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on; another than this machine's needs keys.")] = (
        "127.0.0.1"
    ),
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="0 for any free one; otherwise POSTMAN_CONSOLE_PORT.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line when it is ready.")] = False,
) -> None:
    """Show in a browser what is wrong now, what became of each mail, and what to do, until SIGTERM or SIGINT.

    Whoever is at this machine may look. To act takes a token: the printed address has one, unless POSTMAN_CONSOLE_KEYS
    or POSTMAN_CONSOLE_IDENTITY say who may.
    """
    from postman.entrypoints.console.running import console as run

    chosen = settings()
    set_up_logs(chosen.log_level)

    def ready(told: "Ready") -> None:
        if json:
            print_json({"url": told.url, "login_url": told.login_url})
            return
        OUT.print(f"Console: {plain(told.login_url)}")
        if told.login_url != told.url:
            OUT.print("  Whoever has this address may act; to look only, leave out /login and what follows.")

    asyncio.run(run(chosen, host, chosen.console_port if port is None else port, ready=ready))
