"""Real mail files, from the command to both providers: what arrives is what was in the file."""

import asyncio
import base64
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from postman.config import Settings
from postman.core.eml import mail_from_eml
from postman.core.mail import Address, Attachment, Mail
from postman.errors import InvalidMailError
from postman.runtime.deadletters import Choice, DeadLetters
from postman.sandbox import Sandbox, SandboxSettings
from postman.sandbox.documents import whole
from postman.testing.waiting import wait_until
from postman.wiring import open_ledger, open_shards, open_worker
from tests.unit.core.eml_files import BAD_FILES, FILES
from tests.unit.core.test_eml_cpython import DATA

_PROVIDERS = {
    "sendgrid": '[[provider]]\nname="sendgrid"\nkind="sendgrid"\napi_key="env:SENDGRID"\nbase_url="{sendgrid}"\n',
    "mailgun": (
        '[[provider]]\nname="mailgun"\nkind="mailgun"\napi_key="env:MAILGUN"\nbase_url="{mailgun}"\n'
        'domain="mg.example.org"\n'
    ),
}
_KEYS = {"SENDGRID": "SG.sandbox", "MAILGUN": "key-sandbox"}


def _raw_files() -> dict[str, bytes]:
    own = {f"own-{number:03}": file.data for number, file in enumerate(FILES)}
    cpython = {path.stem: path.read_bytes() for path in sorted(DATA.glob("msg_*.txt"))} if DATA else {}
    return own | cpython


def _readable(files: Mapping[str, bytes]) -> dict[str, bytes]:
    good = {}
    for name, data in files.items():
        try:
            mail_from_eml(data)
        except InvalidMailError:
            continue
        good[name] = data
    return good


@dataclass(frozen=True)
class Post:
    """A sandbox with one of its providers in use."""

    sandbox: Sandbox
    provider: str
    folder: Path
    environ: Mapping[str, str]

    def publish(self, names: Sequence[str]) -> list[str]:
        """Publish the files by the command; return their ids in order."""
        paths = [str(self.folder / f"{name}.eml") for name in names]
        done = subprocess.run(
            [sys.executable, "-m", "postman", "publish", *paths], env=self.environ, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return [orjson.loads(line)["id"] for line in done.stdout.splitlines()]

    async def deliver(self, count: int) -> None:
        """Let a worker run until the sandbox accepted *count* mails."""
        worker, close = await open_worker(Settings.from_env(self.environ), self.environ)
        running = asyncio.ensure_future(worker.run())
        try:
            await wait_until(lambda: sum(worker.tally.verdicts.values()) >= count, within=60.0)
        finally:
            worker.stop()
            await running
            await close()

    def arrived(self) -> dict[str, dict[str, Any]]:
        mails = [whole(mail, copies=1) for mail in self.sandbox.store.newest_first()]
        return {str(mail["mail_id"]): mail for mail in mails}

    async def dead(self) -> dict[str, str]:
        """Return why each mail lies among the dead letters."""
        settings = Settings.from_env(self.environ)
        shards, ledger = open_shards(settings), open_ledger(settings)
        letters = await DeadLetters(shards=shards, ledger=ledger).find(Choice())
        await shards.aclose()
        await ledger.aclose()
        return {letter.mail_id: letter.detail for letter in letters}


@pytest.fixture(params=["sendgrid", "mailgun"])
async def post(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Post]:
    async with Sandbox(SandboxSettings(mailgun_domains=("*",))) as sandbox:
        text = _PROVIDERS[request.param].format(sendgrid=sandbox.sendgrid_url, mailgun=sandbox.mailgun_url)
        (tmp_path / "providers.toml").write_text(text)
        settings = {
            "POSTMAN_QUEUE": f"sqlite:{tmp_path / 'postman.db'}",
            "POSTMAN_LEDGER": f"sqlite:{tmp_path / 'postman.db'}",
            "POSTMAN_PROVIDERS": str(tmp_path / "providers.toml"),
        }
        yield Post(sandbox, request.param, tmp_path, {**os.environ, **_KEYS, **settings})


@pytest.mark.slow
async def test_real_mails_arrive_as_they_were_sent(post: Post) -> None:
    files = _readable(_raw_files())
    assert len(files) >= 50
    for name, data in files.items():
        (post.folder / f"{name}.eml").write_bytes(data)
    ids = await asyncio.to_thread(post.publish, list(files))
    await post.deliver(len(files))
    arrived, dead = post.arrived(), await post.dead()

    assert len(arrived) + len(dead) == len(files)
    for mail_id, (name, data) in zip(ids, files.items(), strict=True):
        mail = mail_from_eml(data)
        if limit := _limit(mail, post.provider):
            assert limit in dead[mail_id], name
        else:
            assert _as_sent(mail, post.provider) == _as_arrived(arrived[mail_id]), name


def test_what_cannot_be_a_mail_is_refused_by_the_command_with_its_file_and_reason(tmp_path: Path) -> None:
    unreadable = {name: data for name, data in _raw_files().items() if name not in _readable(_raw_files())}
    unreadable |= {f"bad-{number:03}": bad.data for number, bad in enumerate(BAD_FILES)}
    paths = []
    for name, data in unreadable.items():
        paths.append(tmp_path / f"{name}.eml")
        paths[-1].write_bytes(data)
    for some in (paths[start : start + 20] for start in range(0, len(paths), 20)):
        command = [sys.executable, "-m", "postman", "publish", *map(str, some)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert not done.stdout
        for path in some:
            assert f"{path}: " in done.stderr


def _limit(mail: Mail, provider: str) -> str:
    """What this provider alone cannot do, as its documentation says; empty where it can."""
    if not mail.to:
        return "only cc and bcc"
    if provider == "sendgrid" and not mail.subject:
        return "without a subject"
    if provider == "sendgrid" and not all(each.content for each in mail.attachments):
        return "empty attachment"
    return ""


def _as_sent(mail: Mail, provider: str) -> dict[str, object]:
    return {
        "from": _person(mail.from_),
        "to": _people(mail.to),
        "cc": _people(mail.cc),
        "bcc": _people(mail.bcc),
        "reply_to": _people(mail.reply_to),
        "subject": mail.subject,
        "text": _ending(mail.text) if mail.text or mail.html else " ",
        "html": _ending(mail.html),
        "attachments": sorted(_file(each, provider) for each in mail.attachments),
    }


def _as_arrived(mail: dict[str, Any]) -> dict[str, object]:
    files = [(each["filename"], base64.b64decode(each["content"])) for each in mail["attachments"]]
    people = {field: sorted((p["email"].lower(), p["name"] or "") for p in mail[field]) for field in _FIELDS}
    return {
        "from": (mail["from"]["email"].lower(), mail["from"]["name"] or ""),
        **people,
        "subject": mail["subject"],
        "text": _ending(mail["text"]),
        "html": _ending(mail["html"]),
        "attachments": sorted(files),
    }


_FIELDS = ("to", "cc", "bcc", "reply_to")


def _person(address: Address) -> tuple[str, str]:
    return address.email.lower(), address.name or ""


def _people(addresses: Sequence[Address]) -> list[tuple[str, str]]:
    return sorted(map(_person, addresses))


def _file(attachment: Attachment, provider: str) -> tuple[str, bytes]:
    is_named_by_its_id = provider == "mailgun" and attachment.content_id is not None
    name = attachment.content_id if is_named_by_its_id else attachment.filename
    return str(name), attachment.content


def _ending(text: str | None) -> str:
    """Line ends are the transport's; everything else must be equal."""
    return (text or "").replace("\r\n", "\n")
