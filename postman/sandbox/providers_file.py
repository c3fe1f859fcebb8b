"""Writes a providers document that points at a running sandbox.

The keys stand in files of their own beside it, readable by their owner only, and the document refers to them.
"""

import contextlib
import json
import os
from pathlib import Path

from postman.errors import ConfigError
from postman.sandbox.server import Sandbox

__all__ = ["write_providers"]

_LEAST_LOOK_UP_AFTER = 1.0
_ANY_DOMAIN = "*"
_DEFAULT_DOMAIN = "mg.example.org"


def write_providers(path: Path, sandbox: Sandbox) -> None:
    """Write *path* and its key files; raise `ConfigError` if they cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_document(path.absolute(), sandbox), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def _document(path: Path, sandbox: Sandbox) -> str:
    settings, live = sandbox.settings, sandbox.live
    domain = next((each for each in settings.mailgun_domains if each != _ANY_DOMAIN), _DEFAULT_DOMAIN)
    sendgrid: dict[str, str | float] = {
        "base_url": sandbox.sendgrid_url,
        "api_key": _key_file(path, "sendgrid", settings.sendgrid_key.partition(",")[0]),
        "look_up_after": live.sendgrid.lookup_delay + _LEAST_LOOK_UP_AFTER,
    }
    mailgun: dict[str, str | float] = {
        "base_url": sandbox.mailgun_url,
        "api_key": _key_file(path, "mailgun", settings.mailgun_key.partition(",")[0]),
        "look_up_after": live.mailgun.lookup_delay + _LEAST_LOOK_UP_AFTER,
        "domain": domain,
        "webhook_key": _key_file(path, "mailgun-webhook", settings.mailgun_signing_key),
    }
    with contextlib.suppress(ConfigError):  # without the package for signatures there are no events to verify
        sendgrid["webhook_key"] = _key_file(path, "sendgrid-webhook", sandbox.sendgrid_public_key)
    return _table("sendgrid", sendgrid) + "\n" + _table("mailgun", mailgun)


def _table(name: str, own: dict[str, str | float]) -> str:
    values = {"name": name, "kind": name, "weight": 1, "enabled": True, "timeout": 10.0, **own}
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    return "\n".join(["[[provider]]", *lines, ""])


def _key_file(document: Path, name: str, key: str) -> str:
    path = document.with_name(f"{document.stem}.{name}.key")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o600)
        file.write(key)
    return f"file:{path}"
