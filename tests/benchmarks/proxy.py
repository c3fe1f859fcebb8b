"""What the observing proxy costs: claim, send and record mails with it and without, each process by itself.

    python -m tests.benchmarks.proxy [sqlite: | firestore:] [MAILS]

Firestore is the emulator that FIRESTORE_EMULATOR_HOST names. The provider is the sandbox, so all latency but the
machine's own is missing: look at the differences.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from secrets import token_hex
from statistics import median
from typing import Final

import orjson
from pydantic import SecretStr

from postman import Address, Mail
from postman.adapters import sendgrid
from postman.config import Settings
from postman.core.entry import Claimed
from postman.core.wire import digest
from postman.ports.ledger import Ledger
from postman.ports.opening import ProviderSpec
from postman.ports.provider import Provider
from postman.testing.waiting import wait_until_blocking
from postman.wiring import open_ledger
from tests.contract.cli.commands import CLEAN, Process, SandboxProcess, running_sandbox

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_DOCUMENT: Final = '[[provider]]\nname = "sendgrid"\nkind = "sendgrid"\nbase_url = "{}"\napi_key = "env:K"\n'


def _mails(count: int) -> list[Mail]:
    to = (Address(email="ann@example.org"),)
    return [Mail(from_=Address(email="a@mg.example.org"), to=to, subject="s", text="x" * 1_000) for _ in range(count)]


async def _deal_with(ledger: Ledger, provider: Provider, mail: Mail) -> None:
    answer = await ledger.claim(mail.id, claim_id=token_hex(8), digest=digest(mail), provider=provider.name, lease=60.0)
    assert isinstance(answer, Claimed)
    receipt = await provider.send(mail)
    if not receipt.is_recorded:
        await ledger.record_sent(answer.claim, receipt)


def _cpu(process: Process) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def _one_by_one(ledger: Ledger, provider: Provider, mails: Iterable[Mail]) -> float:
    """Return the median of the seconds for one mail."""
    taken = []
    for mail in mails:
        begun = time.perf_counter()
        await _deal_with(ledger, provider, mail)
        taken.append(time.perf_counter() - begun)
    return median(taken)


async def _together(ledger: Ledger, provider: Provider, mails: Iterable[Mail], most: int) -> float:
    """Return mails per second, *most* at a time."""
    left = iter(mails)
    begun, count = time.perf_counter(), 0

    async def one() -> None:
        nonlocal count
        for mail in left:
            await _deal_with(ledger, provider, mail)
            count += 1

    await asyncio.gather(*(one() for _ in range(most)))
    return count / (time.perf_counter() - begun)


async def _measure(name: str, ledger: Ledger, provider: Provider, count: int, proxy: Process) -> None:
    await _one_by_one(ledger, provider, _mails(50))
    own, of_proxy = time.process_time(), _cpu(proxy)
    alone = await _one_by_one(ledger, provider, _mails(count))
    rate = await _together(ledger, provider, _mails(count), 50)
    own, of_proxy = time.process_time() - own, _cpu(proxy) - of_proxy
    sys.stdout.write(
        f"{name:8} {alone * 1e3:6.2f} ms a mail alone, {rate:5.0f} mails/s at 50 in flight; CPU a mail: "
        f"{own / count / 2 * 1e6:5.0f} us here, {of_proxy / count / 2 * 1e6:5.0f} us in the proxy\n"
    )
    await provider.aclose()


async def _run(folder: Path, sandbox: SandboxProcess, kind: str, count: int) -> None:
    (folder / "providers.toml").write_text(_DOCUMENT.format(sandbox.urls["sendgrid_url"]))
    environ = {
        **CLEAN,
        "HOME": str(folder),
        "POSTMAN_LEDGER": f"sqlite:{folder / 'postman.db'}" if kind == "sqlite:" else kind,
        "POSTMAN_PREFIX": f"bench-{token_hex(3)}",
        "POSTMAN_PROVIDERS": str(folder / "providers.toml"),
        "POSTMAN_LOG_LEVEL": "warning",
        "GOOGLE_CLOUD_PROJECT": os.environ.get("GOOGLE_CLOUD_PROJECT", "demo-postman"),
        "FIRESTORE_EMULATOR_HOST": os.environ.get("FIRESTORE_EMULATOR_HOST", ""),
    }
    ledger = open_ledger(Settings.from_env(environ))
    await ledger.ensure()
    with Process(["proxy", "--port", "0", "--json"], folder=folder, environ=environ, name="proxy") as proxy:
        url = orjson.loads(wait_until_blocking(proxy.out.read_text, within=10.0, what="the proxy"))["url"]
        for name, through in (("directly", ""), ("proxied", url), ("directly", ""), ("proxied", url)):
            base_url = sandbox.urls["sendgrid_url"]
            spec = ProviderSpec("sendgrid", "sendgrid", SecretStr("SG.sandbox"), base_url, proxy=through)
            await _measure(name, ledger, sendgrid.open_provider(spec), count, proxy)
    await ledger.aclose()


def main() -> None:
    """Print the figures of two rounds."""
    kind = sys.argv[1] if len(sys.argv) > 1 else "sqlite:"
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 500
    with tempfile.TemporaryDirectory() as name, running_sandbox(Path(name)) as sandbox:
        asyncio.run(_run(Path(name), sandbox, kind, count))


if __name__ == "__main__":
    main()
