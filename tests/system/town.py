"""A cluster of real processes on this machine, and what a test does with it."""

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from postman.entrypoints.demo.cluster import Cluster

__all__ = ["POSTMAN", "Town", "mail"]

POSTMAN = (sys.executable, "-m", "postman")


class Town:
    """A cluster on this machine and how to publish to it."""

    def __init__(self, cluster: Cluster, environ: Mapping[str, str], folder: Path) -> None:
        self.cluster = cluster
        self.environ = environ
        self.folder = folder

    async def publish(self, count: int) -> list[dict[str, Any]]:
        """Publish from a file by the command; return what it printed."""
        lines = [orjson.dumps(mail(number)) for number in range(count)]
        path = self.folder / "mails.jsonl"
        path.write_bytes(b"\n".join(lines))
        return [orjson.loads(line) for line in (await self.run("publish", str(path))).splitlines()]

    async def run(self, *command: str) -> bytes:
        done = await asyncio.to_thread(
            subprocess.run, [*POSTMAN, *command], env=self.environ, capture_output=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    async def accepted(self) -> list[dict[str, Any]]:
        return list((await self.cluster.accepted())["mails"])

    async def has_accepted(self, count: int) -> bool:
        return len({mail["mail_id"] for mail in await self.accepted()}) >= count

    def logs(self) -> bytes:
        """Return what all workers logged."""
        return b"".join(path.read_bytes() for path in self.folder.glob("*.log"))

    async def be_slow(self, seconds: float) -> None:
        for provider in ("sendgrid", "mailgun"):
            await self.cluster.set_fault(provider, [{"kind": "slow", "seconds": seconds}])


def mail(number: int) -> dict[str, object]:
    return {
        "id": f"mail-{number}",
        "from": {"email": "shop@mg.example.org"},
        "to": [{"email": f"customer{number}@example.org"}],
        "subject": f"Mail {number}",
        "text": "x" * 1_000,
    }
