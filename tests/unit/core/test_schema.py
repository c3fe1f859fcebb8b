"""The published JSON Schema is the model's."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from postman.core.mail import Mail
from postman.core.schema import mail_schema
from tests.contract.bad_mails import BAD_MAILS, GOOD
from tests.unit.core.mails import any_mails

PUBLISHED = Path(__file__).parents[3] / "docs" / "mail.schema.json"
VALIDATOR = Draft202012Validator(mail_schema())


def test_the_published_file_is_current() -> None:
    """If not: `python -m postman.core.schema > docs/mail.schema.json`."""
    assert orjson.loads(PUBLISHED.read_bytes()) == mail_schema()


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(mail_schema())


@settings(max_examples=40)
@given(any_mails())
def test_every_mail_obeys_it(mail: Mail) -> None:
    VALIDATOR.validate(mail.as_json())


@pytest.mark.parametrize(
    "name",
    [
        "unknown field",
        "unknown field of an address",
        "no sender",
        "recipient as string",
        "nobody",
        "empty lists",
        "nothing to say",
        "text as number",
        "long id",
        "long name",
        "header with a space",
        "tag beyond ASCII",
        "tag with a line break",
        "metadata key with a space",
        "11 tags",
        "51 metadata",
        "101 attachments",
        "no content type",
        "unknown choice on doubt",
    ],
)
def test_it_refuses_what_a_schema_can_see(name: str) -> None:
    [bad] = [bad.mail for bad in BAD_MAILS if bad.name == name]

    assert not VALIDATOR.is_valid(bad)


def test_it_accepts_the_good_mail_with_nulls_where_nothing_is_set() -> None:
    plain: dict[str, Any] = {**GOOD, "send_at": None, "tenant": None}

    VALIDATOR.validate(plain)
    assert Mail.model_validate(plain).as_json() == GOOD
