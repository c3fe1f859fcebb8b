"""`postman serve`: mails and events over HTTP."""

import asyncio
import os
from typing import TYPE_CHECKING, Annotated

import typer

from postman.entrypoints.cli.output import OUT, plain, print_json
from postman.entrypoints.cli.setup import settings
from postman.entrypoints.logs import set_up_logs

if TYPE_CHECKING:
    from postman.runtime.receiver import Receiver

__all__ = ["serve"]


def serve(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="PORT", min=0, max=65_535, help="0 for any free one.")] = 8080,
    api_key: Annotated[
        list[str] | None,
        typer.Option(metavar="REFERENCE", help="env:NAME or file:PATH of the bearer key for /v1/mails; repeatable."),
    ] = None,
    trust_callers: Annotated[
        bool, typer.Option("--trust-callers", help="Let all who reach this address publish: a gateway checks them.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line when it is ready.")] = False,
) -> None:
    """Take mails (POST /v1/mails) and providers' events (POST /v1/events/PROVIDER) over HTTP, until SIGTERM or SIGINT.

    GET /v1/mails/ID tells what became of a mail. Without --api-key only this machine may use /v1/mails.
    """
    from postman.entrypoints.serve.access import Access, is_loopback, read_key
    from postman.entrypoints.serve.running import Listening
    from postman.entrypoints.serve.running import serve as run

    chosen = settings()
    set_up_logs(chosen.log_level)
    keys = [read_key(reference, os.environ) for reference in api_key or []]
    access = Access(keys, lets_all_in=trust_callers)

    def ready(url: str, receiver: "Receiver") -> None:
        if json:
            print_json({"url": url, "events": {name: f"{url}/v1/events/{name}" for name in receiver.providers}})
            return
        OUT.print(f"Listening at {plain(url)}")
        for name in receiver.providers:
            OUT.print(f"  events of {plain(name)}: {plain(url)}/v1/events/{plain(name)}")
        if not keys and not trust_callers and not is_loopback(host):
            OUT.print("  /v1/mails is closed to other machines: give --api-key, or --trust-callers")

    asyncio.run(run(chosen, Listening(host, port), access, ready=ready))
