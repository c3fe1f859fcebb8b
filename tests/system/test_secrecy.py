"""Nothing that a cluster says has an address, a subject, a text or a key in it.

Every field of nasty mails and every setting that holds a secret has one that
occurs nowhere else. Then everything that the run produced is searched: what
commands print, what processes log, pages, metrics and traces, and what the
ledger keeps. Only the queue may have mails in it.
"""

import asyncio
import base64
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import httpx
import orjson
import pytest

from postman.config import Settings
from postman.core.message import Message
from postman.entrypoints.demo.cluster import Cluster, environment_for
from postman.testing.waiting import wait_until
from postman.wiring import open_shards
from tests.system.town import Town

PAGES: Final = ("/", "/dead", "/doubts", "/providers", "/shards", "/workers", "/suppressions", "/search")
NASTY: Final = "<script>'\"%s{0}${x}\\"


class Secrets:
    """Words that occur nowhere else, and where they were planted."""

    def __init__(self) -> None:
        self._places: dict[str, str] = {}

    def __call__(self, place: str) -> str:
        word = f"zq{token_hex(7)}"
        self._places[word] = place
        return word

    def found_in(self, text: bytes) -> set[str]:
        """Return the places whose words stand in *text*, as they are or in base64; case does not matter."""
        lowered = text.lower()
        return {place for word, place in self._places.items() if word.encode() in lowered or _coded(word, text)}


def _coded(word: str, text: bytes) -> bool:
    """Whether *word* stands in base64 in *text*, wherever it began."""
    return any(_inner(word, shift) in text for shift in range(3))


def _inner(word: str, shift: int) -> bytes:
    whole = base64.b64encode(b"\0" * shift + word.encode())
    return whole[(shift and 4) : len(whole) - 4]


@pytest.fixture
def secrets() -> Secrets:
    return Secrets()


class Produced:
    """All that was printed, logged and shown, by where it came from."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self.texts: dict[str, bytes] = {}

    def keep(self, name: str, text: bytes) -> None:
        self.texts[name] = self.texts.get(name, b"") + text

    def leaks(self) -> dict[str, set[str]]:
        found = {name: self._secrets.found_in(text) for name, text in self.texts.items()}
        return {name: places for name, places in found.items() if places}


@pytest.fixture
async def town(tmp_path: Path, secrets: Secrets) -> AsyncIterator[Town]:
    environ, _ = environment_for(tmp_path, run=token_hex(3), shards=2)
    environ |= {
        "POSTMAN_QUEUE": f"sqlite:{tmp_path / 'queue.db'}",
        "POSTMAN_LEDGER": f"sqlite:{tmp_path / 'ledger.db'}",
        "POSTMAN_LOG_LEVEL": "debug",
        "POSTMAN_HEALTH_WINDOW": "1",
        "SENDGRID_API_KEY": f"SG.{secrets('SendGrid key')}",
        "MAILGUN_API_KEY": f"key-{secrets('Mailgun key')}",
        "CONSOLE_TOKEN": secrets("token of the console"),
        "POSTMAN_CONSOLE_KEYS": "nina=env:CONSOLE_TOKEN",
        "WEBHOOK_KEY": secrets("webhook key"),
    }
    async with Cluster(tmp_path, environ) as cluster:
        town = Town(cluster, environ, tmp_path)
        await town.run("init")
        await cluster.start_sandbox()
        providers = tmp_path / "providers.toml"
        kind = 'kind = "mailgun"\n'
        providers.write_text(providers.read_text().replace(kind, f'{kind}webhook_key = "env:WEBHOOK_KEY"\n'))
        yield town


def nasty_mail(number: int, secrets: Secrets, **changes: object) -> dict[str, Any]:
    """Return a mail with a secret in each field."""

    def of(field: str) -> str:
        return secrets(f"{field} of mail {number}")

    def address(field: str) -> dict[str, str]:
        return {"email": f"{of(field)}@{of(field + ' (domain)')}.example", "name": f"{NASTY} {of(field + ' (name)')}"}

    content = base64.b64encode(f"{of('attachment')}\0\xff".encode()).decode()
    return {
        "id": f"nasty-{number}",
        "from": {"email": f"{of('from')}@mg.example.org", "name": of("from (name)")},
        "to": [address("to")],
        "cc": [address("cc")],
        "bcc": [address("bcc")],
        "reply_to": [address("reply_to")],
        "subject": f"{NASTY} {of('subject')}",
        "text": f"{NASTY}\n{of('text')}",
        "html": f"<p onclick=1>{of('html')}</p>",
        "headers": {"X-Nasty": of("header")},
        "attachments": [
            {"filename": f"{of('attachment (name)')}.bin", "content_type": "application/x", "content": content}
        ],
        "metadata": {"order": of("metadata")},
        **changes,
    }


def bad_lines(secrets: Secrets) -> Iterator[bytes]:
    """What no publisher should send: each is refused, by words that repeat none of it."""
    good = nasty_mail(90, secrets)
    yield orjson.dumps(good)[:-9]
    yield f"{secrets('no JSON')} at all".encode()
    for field, value in (
        ("to", [{"email": f"{secrets('bad address')}@@example.org"}]),
        ("to", [{"email": f"a@{secrets('bad domain')}..example"}]),
        ("from", {"email": f"{secrets('bad sender')} <x@example.org>"}),
        ("subject", f"{secrets('two lines')}\nBcc: x@example.org"),
        ("headers", {"X-A": f"{secrets('header with a line')}\r\nX-B: 1"}),
        ("headers", {secrets("header name") + " :": "1"}),
        ("metadata", {secrets("metadata key") + " !": "1"}),
        ("attachments", [{"filename": "a", "content_type": "a/b", "content": f"!!{secrets('no base64')}"}]),
        ("send_at", secrets("no time")),
        ("on_doubt", secrets("no choice")),
        ("tags", [secrets("tag") * 30]),
    ):
        yield orjson.dumps(good | {field: value})


async def _run(town: Town, produced: Produced, *words: str, **environ: str) -> bytes:
    """Run a command, whether it succeeds or not, and keep what it says; return that."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "postman", *words),
        env={**town.environ, **environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60.0)
    produced.keep(f"postman {' '.join(words)}", out + err)
    return out + err


async def _publish(town: Town, produced: Produced, name: str, lines: list[bytes]) -> bytes:
    path = town.folder / f"{name}.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return await _run(town, produced, "publish", str(path))


async def _put_junk(environ: Mapping[str, str], junk: bytes) -> None:
    """Put into a queue what no publisher of ours would."""
    shards = open_shards(Settings.from_env(environ))
    try:
        await shards.queue(0).publish(Message(junk, {}))
        await shards.queue(1).publish(Message(junk, {"mail_id": "junk", "content-type": "application/json"}))
    finally:
        await shards.aclose()


async def _trouble(town: Town, produced: Produced, secrets: Secrets) -> None:
    """Let mails be sent, refused in words that repeat them, expired, in doubt, unreadable; then refuse the keys."""
    echo = nasty_mail(1, secrets)
    words = f"{echo['to'][0]['email']} may not be sent {echo['subject']} {echo['text']}"
    repeated = orjson.dumps({"errors": [{"message": words}], "message": words}).decode()
    await _meet(town, produced, nasty_mail(0, secrets), [])
    await _meet(town, produced, echo, [{"kind": "status", "status": 400, "only": "send", "body": repeated}])
    lost = [{"kind": "reset", "only": "send"}, {"kind": "down", "only": "lookup"}]
    await _meet(town, produced, nasty_mail(2, secrets, on_doubt="hold"), lost)
    await _meet(town, produced, nasty_mail(3, secrets, expires_at="2020-01-01T00:00:00Z"), [])
    await _put_junk(town.environ, f'{{"to": "{secrets("junk")}@example.org"'.encode())
    await wait_until(lambda: _has_dead(town, 4), within=30.0, every=0.3, what="the dead letters")
    await _meet(town, produced, nasty_mail(4, secrets), [{"kind": "status", "status": 401}])


async def _meet(town: Town, produced: Produced, mail: dict[str, Any], faults: list[dict[str, Any]]) -> None:
    """Publish a mail while both providers have *faults*; return when something became of it."""
    for provider in ("sendgrid", "mailgun"):
        await town.cluster.set_fault(provider, faults)
    said = await _publish(town, produced, str(mail["id"]), [orjson.dumps(mail)])
    assert str(mail["id"]).encode() in said, said
    await wait_until(lambda: _is_known(town, mail["id"]), within=30.0, every=0.2, what=mail["id"])
    for provider in ("sendgrid", "mailgun"):
        await town.cluster.set_fault(provider, [])


async def _is_known(town: Town, mail_id: str) -> bool:
    """Whether something became of a mail: the worker told of it."""
    return any(mail_id.encode() in line and b'"event"' in line for line in town.logs().splitlines())


async def _look_at_pages(url: str, token: str, produced: Produced) -> None:
    async with httpx.AsyncClient(trust_env=False, base_url=url, follow_redirects=True) as client:
        entered = await client.post("/login", data={"token": token}, headers={"Origin": url})
        assert "Log out" in entered.text
        for path in (*PAGES, *(f"/mails/nasty-{number}" for number in range(5)), "/mails/%3Cscript%3E"):
            answer = await client.get(path)
            produced.keep(f"page {path}", answer.content + str(answer.headers).encode())


async def test_nothing_that_a_run_produces_has_a_secret_in_it(town: Town, secrets: Secrets) -> None:
    produced = Produced(secrets)
    login_url = await town.cluster.start_console()
    await town.cluster.start_worker("worker-1")
    await town.cluster.wait_for_workers("worker-1")

    await _trouble(town, produced, secrets)
    await _publish(town, produced, "bad", list(bad_lines(secrets)))
    url = login_url.partition("/login")[0]
    await _look_at_pages(url, town.environ["CONSOLE_TOKEN"], produced)
    for words in (
        ("status",),
        ("status", "--json"),
        ("shards", "list"),
        ("dead", "list"),
        ("dead", "show", "nasty-1"),
        ("dead", "show", "nasty-3", "--json"),
        ("show", "nasty-0"),
        ("show", "nasty-1"),
        ("show", "nasty-2", "--json"),
        ("providers", "list"),
        ("providers", "show"),
    ):
        await _run(town, produced, *words)
    pasted = secrets("key pasted into a setting")
    await _run(town, produced, "console", POSTMAN_CONSOLE_KEYS=f"nina={pasted}")
    await _run(town, produced, "status", POSTMAN_LEDGER=f"postgres://nina:{pasted}@db.example/x")
    wrong = town.folder / "wrong.toml"
    wrong.write_text(f'[[provider]]\nname = "sendgrid"\nkind = "sendgrid"\napi_key = "SG.{pasted}"\n')
    await _run(town, produced, "worker", POSTMAN_PROVIDERS=str(wrong))

    assert await town.cluster.stop("worker-1") == 0
    for path in (*town.folder.glob("*.log"), *town.folder.glob("ledger.db*")):
        produced.keep(path.name, path.read_bytes())
    assert len(produced.texts["worker-1.log"]) > 1_000
    assert produced.leaks() == {}


async def _has_dead(town: Town, count: int) -> bool:
    return len((await town.run("dead", "list", "--json")).splitlines()) >= count


def test_what_stands_there_is_found(secrets: Secrets) -> None:
    """The search itself: as it is, in other letters, in base64 wherever it begins."""
    word = secrets("subject")
    coded = (base64.b64encode(f"{'a' * shift}{word}b".encode()).decode() for shift in range(4))
    for text in (word, word.upper(), f"x{word}y", *coded):
        assert secrets.found_in(text.encode()) == {"subject"}, text
    assert secrets.found_in(b"zq" + b"0" * 14) == set()
