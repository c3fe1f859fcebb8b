"""Commands that must be refused: with wrong settings, a wrong document of providers, or used wrongly."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["BAD_RUNS", "BadRun"]

_KEY = "SG.CANARY-0123456789abcdef"
_LIST = ("providers", "list")


@dataclass(frozen=True, slots=True)
class BadRun:
    """One command, and what it must say on stderr."""

    name: str
    arguments: tuple[str, ...]
    says: str
    settings: Mapping[str, str] = field(default_factory=dict)
    document: str | bytes | None = None
    """The document of the providers, where it is the one that is wrong."""
    stdin: bytes = b""
    status: int = 2


def _setting(name: str, value: str, says: str) -> BadRun:
    variable = f"POSTMAN_{name}"
    return BadRun(f"{variable}={value}", ("publish", "good.jsonl"), f"{variable}: {says}", {variable: value})


def _provider(name: str, says: str, *lines: str, kind: str = "sendgrid", key: str = "env:SENDGRID_API_KEY") -> BadRun:
    first = ["[[provider]]", 'name = "one"', f'kind = "{kind}"', f'api_key = "{key}"']
    return BadRun(name, _LIST, f"provider one: {says}", document="\n".join([*first, *lines, ""]))


def _document(name: str, says: str, document: str | bytes) -> BadRun:
    return BadRun(name, _LIST, says, document=document)


def _use(name: str, command: str, says: str, *, stdin: bytes = b"", status: int = 2) -> BadRun:
    return BadRun(name, tuple(command.split()), says, stdin=stdin, status=status)


_GOOD = '[[provider]]\nname = "one"\nkind = "sendgrid"\napi_key = "env:SENDGRID_API_KEY"\n'

_SETTINGS = [
    _setting("QUEUE", "nonsense", "must be a scheme and a colon, like sqlite:PATH"),
    _setting("QUEUE", "pigeon:loft", "'pigeon' is not known; installed are"),
    _setting("QUEUE", "memory:", "memory: ends with this command"),
    _setting("LEDGER", "Nonsense:", "must be a scheme and a colon"),
    BadRun("unknown ledger", ("show", "x"), "POSTMAN_LEDGER: 'pigeon' is not known", {"POSTMAN_LEDGER": "pigeon:x"}),
    BadRun("database in memory", ("show", "x"), "is not a file", {"POSTMAN_LEDGER": "sqlite::memory:"}),
    BadRun("database is a folder", ("publish", "good.jsonl"), "is a folder", {"POSTMAN_QUEUE": "sqlite:."}),
    BadRun("database in a file", ("init",), "cannot be made", {"POSTMAN_QUEUE": "sqlite:good.jsonl/postman.db"}),
    BadRun("database of others", ("init",), "is not a SQLite database", {"POSTMAN_QUEUE": "sqlite:good.jsonl"}),
    _setting("PREFIX", "Post Man", "must begin with a letter"),
    _setting("SHARDS", "0", "Input should be greater than or equal to 1"),
    _setting("SHARDS", "eight", "Input should be a valid integer"),
    _setting("SHARDS", "1025", "Input should be less than or equal to 1024"),
    _setting("CONCURRENCY", "0", "Input should be greater than or equal to 1"),
    _setting("ACK_DEADLINE", "9", "Input should be greater than or equal to 10"),
    _setting("ACK_DEADLINE", "601", "Input should be less than or equal to 600"),
    _setting("GRACE", "0", "Input should be greater than 0"),
    _setting("GRACE", "soon", "Input should be a valid number"),
    _setting("GRACE", "nan", "Input should be"),
    _setting("DOUBT_WINDOW", "-1", "Input should be greater than or equal to 0"),
    _setting("DOUBT_WINDOW", "inf", "Input should be a finite number"),
    _setting("LOG_LEVEL", "loud", "must be debug, info, warning, error or critical"),
    _setting("SHARD", "8", "there is no such setting; did you mean POSTMAN_SHARDS?"),
    _setting("SENDGRID_KEY", _KEY, "there is no such setting"),
    BadRun("two at once", ("init",), "(and 1 more)", {"POSTMAN_SHARDS": "0", "POSTMAN_GRACE": "x"}),
    BadRun("no providers", _LIST, "POSTMAN_PROVIDERS: is not set", {"POSTMAN_PROVIDERS": ""}),
    BadRun("no document", _LIST, "POSTMAN_PROVIDERS: cannot read no.toml", {"POSTMAN_PROVIDERS": "no.toml"}),
    BadRun("document is a folder", _LIST, "POSTMAN_PROVIDERS: cannot read .", {"POSTMAN_PROVIDERS": "."}),
    BadRun("no project", ("init",), "set POSTMAN_PROJECT or GOOGLE_CLOUD_PROJECT", {"POSTMAN_QUEUE": "pubsub:"}),
]

_DOCUMENTS = [
    _document("no TOML", "(at line 2, column 6)", '[[provider]]\nname one\napi_key = "' + _KEY + '"\n'),
    _document("no UTF-8", "invalid start byte", b'[[provider]]\nname = "\xff"\n'),
    _document("empty document", "names no provider", ""),
    _document("one table", "needs at least one [[provider]] table", '[provider]\nname = "one"\n'),
    _document("key outside", "api_key: only [[provider]] tables are known", f'api_key = "{_KEY}"\n' + _GOOD),
    _document("no name", "provider 1: name: Field required", _GOOD.replace('name = "one"', "")),
    _document("name with a line break", "name: String should match", _GOOD.replace('"one"', '"a\\nb"')),
    _document("name twice", "provider one: the name stands twice", _GOOD * 2),
    _document("none enabled", "no provider is enabled", _GOOD + "enabled = false\n"),
    _document("no key", "provider one: api_key: Field required", _GOOD.replace("api_key", "apikey")),
    _provider("unknown kind", "kind: 'pigeon' is not known; installed are mailgun, sendgrid", kind="pigeon"),
    _provider(
        "key as a value",
        "api_key: must be a reference, env:NAME, file:PATH or secret:NAME, never",
        key=_KEY,
    ),
    _provider("key as a variable's name", "api_key: what follows env: is no name of a variable", key=f"env:{_KEY}"),
    _provider(
        "key not set",
        "api_key: env:NOT_SET: the environment variable NOT_SET is not set",
        key="env:NOT_SET",
    ),
    _provider("key file missing", "api_key: file:no.key: cannot read the file: No such file", key="file:no.key"),
    _provider("key in Secret Manager", "api_key: secret:x: names no project", key="secret:x"),
    _provider("key with a space", "api_key is empty, or has spaces", key="env:SPACED_KEY"),
    _provider("webhook key as a value", "webhook_key: must be a reference", f'webhook_key = "{_KEY}"'),
    _provider("option that nobody knows", "unknown option colour", 'colour = "red"'),
    _provider("option as number", "region: must be a string", "region = 7"),
    _provider("Mailgun without a domain", "option domain must be", kind="mailgun"),
    _provider("Mailgun with a bad domain", "option domain must be", 'domain = "mg example"', kind="mailgun"),
    _provider("weight as text", "weight: Input should be a valid number", 'weight = "much"'),
    _provider("negative weight", "weight: Input should be greater than or equal to 0", "weight = -1"),
    _provider("timeout 0", "timeout: Input should be greater than 0", "timeout = 0"),
    _provider("timeout of an hour", "timeout: Input should be less than or equal to 240", "timeout = 3600"),
    _provider("rate 0", "rate: Input should be greater than 0", "rate = 0"),
    _provider("concurrency 0", "concurrency: Input should be greater than or equal to 1", "concurrency = 0"),
    _provider("look-up before", "look_up_after: Input should be greater than or equal to 0", "look_up_after = -1"),
    _provider("no URL", "base_url must be an http or https URL", 'base_url = "api.sendgrid.com"'),
    _provider("no TLS", "base_url must be https unless", 'base_url = "http://api.sendgrid.com"'),
    _provider("password in the URL", "base_url must not hold a user", f'base_url = "https://x:{_KEY}@a.example.org"'),
    _provider("metadata server", "base_url must not be a link-local", 'base_url = "http://169.254.169.254"'),
]

_USES = [
    _use("unknown command", "pubish x", "No such command 'pubish'"),
    _use("unknown option", "publish --fast good.jsonl", "No such option: --fast"),
    _use("no file", "publish", "Missing argument 'FILE…'"),
    _use("no id", "show", "Missing argument 'ID'"),
    _use("shard as text", "dead list --shard one", "Invalid value for '--shard'"),
    _use("negative shard", "dead list --shard -1", "Invalid value for '--shard'"),
    _use("shard beyond", "dead list --shard 4", "--shard: there are 4 shards, numbered from 0"),
    _use("nothing chosen", "dead drop --yes", "say which dead letters"),
    _use("port beyond", "sandbox --port 70000", "Invalid value for '--port'"),
    _use("sandbox for all", "sandbox --host 0.0.0.0", "only with --allow-remote"),
    _use("webhook to a file", "sandbox --webhook-url-mailgun file:///etc/passwd", "--webhook-url-mailgun: must be"),
    _use("too small a demo", "demo --mails 1", "Invalid value for '--mails'"),
    _use("missing file", "publish good.jsonl no.jsonl", "no.jsonl: No such file or directory"),
    _use("folder as file", "publish folder.jsonl", "folder.jsonl: Is a directory"),
    _use("unknown kind of file", "publish providers.toml", "must end in .jsonl, .json, .eml, or be - for JSON lines"),
    _use("empty file", "publish empty.jsonl", "empty.jsonl: is empty: it holds no mail"),
    _use("empty list", "publish -", "-: is empty", stdin=b"\r\n\r\n"),
    _use("same id in two files", "publish good.jsonl again.jsonl", "again.jsonl:1: id: stands twice, first at good"),
    _use("line without end", "publish -", "-:1: the line is longer than", stdin=b" " * 20_000_000),
    _use("mail that nobody knows", "show nobody", "nobody: the ledger does not know this mail", status=1),
    _use("dead letter that is not there", "dead show nobody", "nobody: no dead letter has this id", status=1),
    _use("no sandbox", "sandbox clear --url http://127.0.0.1:9", "no sandbox answers at http://127.0.0.1:9", status=1),
    BadRun("id with a line break", ("show", "a\nb"), "id: must have printable characters only"),
    BadRun("empty id", ("show", ""), "id: must have 1 to 128 characters, not 0"),
    BadRun("id of 129", ("dead", "show", "x" * 129), "no dead letter has this id", status=1),
]

BAD_RUNS = (*_SETTINGS, *_DOCUMENTS, *_USES)
