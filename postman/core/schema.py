"""The JSON Schema of a mail, for producers in other languages.

`python -m postman.core.schema > docs/mail.schema.json` writes it anew. It says
what JSON Schema can say; what goes beyond (duplicate recipients, the reading of
an address, the size of the whole) is in `docs/mail.md` and checked by postman.
"""

import sys
from typing import Any, Final

import orjson

from postman.core.mail import Mail

__all__ = ["mail_schema", "main"]

_SOMEBODY: Final = [{"required": [name], "properties": {name: {"minItems": 1}}} for name in ("to", "cc", "bcc")]
_SOMETHING: Final = [
    {"required": ["text"], "properties": {"text": {"minLength": 1}}},
    {"required": ["html"], "properties": {"html": {"minLength": 1}}},
    {"required": ["attachments"], "properties": {"attachments": {"minItems": 1}}},
]


def mail_schema() -> dict[str, Any]:
    """Return the schema of what a producer may send."""
    made = Mail.model_json_schema(by_alias=True)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Mail, version 1"}
    return head | {**made, "title": head["title"], "allOf": [{"anyOf": _SOMEBODY}, {"anyOf": _SOMETHING}]}


def main() -> None:
    """Write the schema to the standard output."""
    sys.stdout.buffer.write(orjson.dumps(mail_schema(), option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    main()
