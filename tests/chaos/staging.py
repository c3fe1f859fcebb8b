"""What the long runs set up alike: the workers' settings, and a sandbox in a process of its own as their providers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import httpx
import orjson

from postman.ports.opening import Cluster
from tests.chaos.checker import Accepted
from tests.chaos.processes import Processes

__all__ = ["accepted_at", "settings_for", "start_sandbox"]

_PROVIDERS: Final = """\
[[provider]]
name = "sendgrid"
kind = "sendgrid"
base_url = "{sendgrid_url}"
api_key = "env:SENDGRID_API_KEY"
timeout = 2.0
look_up_after = {look_up_after}

[[provider]]
name = "mailgun"
kind = "mailgun"
domain = "mg.example.org"
base_url = "{mailgun_url}"
api_key = "env:MAILGUN_API_KEY"
timeout = 2.0
look_up_after = {look_up_after}
"""


def settings_for(cluster: Cluster, folder: Path, *, pubsub: str, health_window: float) -> dict[str, str]:
    """Return the environment of workers of *cluster* on the emulators, beside where these are."""
    return {
        "POSTMAN_QUEUE": f"pubsub:{pubsub}",
        "POSTMAN_LEDGER": "firestore:",
        "POSTMAN_PREFIX": cluster.prefix,
        "POSTMAN_SHARDS": str(cluster.shards),
        "POSTMAN_PROVIDERS": str(folder / "providers.toml"),
        "POSTMAN_CONCURRENCY": "20",
        "POSTMAN_ACK_DEADLINE": f"{cluster.ack_deadline:g}",
        "POSTMAN_DOUBT_WINDOW": "5",
        "POSTMAN_GRACE": "5",
        "POSTMAN_HEALTH_WINDOW": f"{health_window:g}",
        "SENDGRID_API_KEY": "SG.sandbox",
        "MAILGUN_API_KEY": "key-sandbox",
    }


async def start_sandbox(
    processes: Processes, environ: Mapping[str, str], folder: Path, *, look_up_after: float = 4.0
) -> str:
    """Start the providers, and write the document that names them; return their page."""
    ports = ("--port", "0", "--sendgrid-port", "0", "--mailgun-port", "0")
    await processes.start("sandbox", "sandbox", "--json", *ports, environ=environ)
    await processes.wait_for("sandbox", "mailgun_url")
    ready = orjson.loads(processes.log("sandbox").read_bytes())
    (folder / "providers.toml").write_text(_PROVIDERS.format(look_up_after=look_up_after, **ready), encoding="utf-8")
    return str(ready["url"])


async def accepted_at(sandbox_url: str) -> Sequence[Accepted]:
    """Return what the providers accepted."""
    async with httpx.AsyncClient(timeout=60.0, trust_env=False) as client:
        document = orjson.loads((await client.get(f"{sandbox_url}/api/mails")).raise_for_status().content)
    return [Accepted(each["mail_id"], each["provider"], each["message_id"]) for each in document["mails"]]
