"""`postman sandbox`: a local SendGrid and Mailgun with faults, events and an inbox page."""

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.table import Table

from postman.entrypoints.cli.output import OUT, complain, moment, plain, print_json
from postman.errors import ConfigError

if TYPE_CHECKING:
    from postman.sandbox import Sandbox, SandboxSettings, Tunables

__all__ = ["app"]

_WRONG_USE = 2
_URL = "http://127.0.0.1:8025"
_TIMEOUT = 10.0
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_KINDS = "down, refuse, slow, status, throttle, hang, reset, reset_before or malformed"

app = typer.Typer(
    help="A local SendGrid and Mailgun: they answer as the real ones do, fail on request, and show what they took.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
)

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON line.")]
_Url = Annotated[str, typer.Option(help="Address of the running sandbox.")]
_Port = typer.Option(min=0, max=65_535, help="0 for any free one.")


@app.callback()
def run(
    context: typer.Context,
    *,
    host: Annotated[str, typer.Option(help="Address to listen on; only this machine's own without --allow-remote.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, _Port] = 8025,
    sendgrid_port: Annotated[int, _Port] = 8026,
    mailgun_port: Annotated[int, _Port] = 8027,
    allow_remote: Annotated[bool, typer.Option("--allow-remote", help="Let other machines in.")] = False,
    sendgrid_key: Annotated[str, typer.Option(help="What SendGrid accepts; with commas, several.")] = "SG.sandbox",
    mailgun_key: Annotated[str, typer.Option(help="What Mailgun accepts; with commas, several.")] = "key-sandbox",
    domain: Annotated[
        list[str] | None, typer.Option(help="A domain that may send at Mailgun; * for any. Repeatable.")
    ] = None,
    lookup_delay: Annotated[float, typer.Option(min=0, help="Seconds until a look-up sees a mail.")] = 0.0,
    providers: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a providers document that points at the sandbox.")
    ] = None,
    webhook_url_sendgrid: Annotated[str | None, typer.Option(help="Where SendGrid posts its events.")] = None,
    webhook_url_mailgun: Annotated[str | None, typer.Option(help="Where Mailgun posts its events.")] = None,
    json: _Json = False,
) -> None:
    """Run the sandbox until SIGINT or SIGTERM."""
    if context.invoked_subcommand is not None:
        return
    from postman.sandbox import SandboxSettings

    if not allow_remote and host not in _LOOPBACK:
        _fail(f"--host {host}: others than this machine may come in only with --allow-remote", _WRONG_USE)
    settings = SandboxSettings(
        host="127.0.0.1" if host == "localhost" else host,
        port=port,
        sendgrid_port=sendgrid_port,
        mailgun_port=mailgun_port,
        allow_remote=allow_remote,
        sendgrid_key=sendgrid_key,
        mailgun_key=mailgun_key,
        mailgun_domains=tuple(domain or ("mg.example.org",)),
        sendgrid=_tunables(lookup_delay, webhook_url_sendgrid, "--webhook-url-sendgrid"),
        mailgun=_tunables(lookup_delay, webhook_url_mailgun, "--webhook-url-mailgun"),
    )
    try:
        asyncio.run(_serve(settings, providers, json=json))
    except ConfigError as error:
        _fail(str(error), _WRONG_USE)


def _tunables(lookup_delay: float, webhook_url: str | None, option: str) -> "Tunables":
    from postman.sandbox.settings import SettingError, Tunables, changed

    try:
        return changed(Tunables(), {"lookup_delay": lookup_delay, "webhook_url": webhook_url})
    except SettingError as error:
        named = option if error.setting == "webhook_url" else "--lookup-delay"
        _fail(f"{named}: {error.problem}", _WRONG_USE)


async def _serve(settings: "SandboxSettings", providers: Path | None, *, json: bool) -> None:
    from postman.sandbox import Sandbox
    from postman.sandbox.providers_file import write_providers

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    async with Sandbox(settings) as sandbox:
        if providers is not None:
            write_providers(providers, sandbox)
        _announce(sandbox, providers, json=json)
        await stop.wait()


def _announce(sandbox: "Sandbox", providers: Path | None, *, json: bool) -> None:
    if json:
        named = {} if providers is None else {"providers": str(providers)}
        print_json({**sandbox.urls(), **named})
        return
    OUT.print("The sandbox is ready.")
    rows = [("inbox and control", sandbox.url), ("SendGrid", sandbox.sendgrid_url), ("Mailgun", sandbox.mailgun_url)]
    if providers is not None:
        rows.append(("providers", str(providers)))
    for name, value in rows:
        OUT.print(f"  {name:20}{plain(value)}")


@app.command()
def fault(
    provider: Annotated[str, typer.Argument(help="sendgrid or mailgun.")],
    kind: Annotated[str, typer.Argument(help=f"One of {_KINDS}.")],
    *,
    rate: Annotated[float | None, typer.Option(help="Share of requests it hits, up to 1 (default).")] = None,
    seconds: Annotated[float | None, typer.Option(help="Of slow, hang and throttle.")] = None,
    status: Annotated[int | None, typer.Option(help="Of status and throttle.")] = None,
    count: Annotated[int | None, typer.Option(help="How many requests it hits; no end by default.")] = None,
    only: Annotated[str | None, typer.Option(help="Hit only one kind of request: send or lookup.")] = None,
    url: _Url = _URL,
) -> None:
    """Set a fault at a provider of the running sandbox, beside those that are set."""
    given = {"kind": kind, "rate": rate, "seconds": seconds, "status": status, "count": count, "only": only}
    document = _call("PUT", url, f"/api/faults/{_segment(provider)}", {k: v for k, v in given.items() if v is not None})
    for each in document["faults"]:
        OUT.print(f"{plain(provider)}: {plain(_in_words(each))}")


@app.command()
def clear(
    provider: Annotated[str | None, typer.Argument(help="sendgrid or mailgun; both without it.")] = None,
    *,
    url: _Url = _URL,
) -> None:
    """Take away the faults of a provider, or of both."""
    _call("DELETE", url, "/api/faults" if provider is None else f"/api/faults/{_segment(provider)}")
    OUT.print(f"{plain(provider or 'both providers')}: no faults")


@app.command()
def mails(
    *,
    limit: Annotated[int, typer.Option(min=1, help="How many of the newest to show.")] = 20,
    json: _Json = False,
    url: _Url = _URL,
) -> None:
    """Show the newest mails that the providers took."""
    document = _call("GET", url, f"/api/mails?limit={limit}")
    if json:
        print_json(document)
        return
    table = Table("accepted (UTC)", "provider", "id", "to", "subject", box=None, pad_edge=False, header_style="dim")
    for mail in document["mails"]:
        to = ", ".join(each["email"] for each in mail["to"])
        when = moment(mail["accepted_at"])
        table.add_row(when, mail["provider"], plain(mail["mail_id"]), plain(to), plain(mail["subject"]))
    OUT.print(table)
    OUT.print(f"{document['total']} accepted, {document['distinct']} different, {len(document['duplicates'])} twice")


def _segment(provider: str) -> str:
    from urllib.parse import quote

    return quote(provider, safe="")


def _in_words(fault: dict[str, Any]) -> str:
    details = [f"{name} {value}" for name, value in fault.items() if name != "kind" and value is not False]
    return ", ".join([fault["kind"], *details])


def _call(method: str, url: str, path: str, document: dict[str, object] | None = None) -> dict[str, Any]:
    """Ask the running sandbox; ends the command if it cannot be reached or refuses."""
    import httpx

    try:
        reply = httpx.request(method, url.rstrip("/") + path, json=document, timeout=_TIMEOUT, trust_env=False)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        _fail(f"--url {url}: {error}", _WRONG_USE)
    except httpx.HTTPError:
        _fail(f"no sandbox answers at {url}; start one with `postman sandbox`, or name it with --url", 1)
    if reply.is_error:
        _fail(_reason(reply.text, reply.headers.get("content-type", "")), _WRONG_USE if reply.status_code < 500 else 1)
    found: dict[str, Any] = reply.json() if reply.content else {}
    return found


def _reason(text: str, content_type: str) -> str:
    import orjson

    if not content_type.startswith("application/json"):
        return text.strip()
    document = orjson.loads(text)
    return f"{document['field']}: {document['error']}" if document["field"] else str(document["error"])


def _fail(problem: str, status: int) -> NoReturn:
    complain(problem)
    raise typer.Exit(status)
