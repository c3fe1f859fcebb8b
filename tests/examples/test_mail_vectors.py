"""The published mails are what the model makes of them, and other languages read the same in them."""

import shutil
import subprocess
from base64 import b64decode
from collections import defaultdict
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import orjson
import pytest
from jsonschema import Draft202012Validator

from postman.core.message import Message
from postman.core.wire import decode_message, digest, encode, message_for, parse
from postman.errors import InvalidMailError
from tests.contract.bad_mails import BAD_MAILS
from tests.examples.mail_vectors import PUBLISHED, ROOT, document

_FILE: Final[dict[str, Any]] = orjson.loads(PUBLISHED.read_bytes())
_VALID: Final[list[dict[str, Any]]] = _FILE["valid"]
_INVALID: Final[list[dict[str, Any]]] = _FILE["invalid"]
_SCHEMA: Final = Draft202012Validator(orjson.loads((ROOT / "docs" / "mail.schema.json").read_bytes()))
_PLACES: Final[list[dict[str, Any]]] = orjson.loads((ROOT / "docs" / "shard-vectors.json").read_bytes())["places"]


def _name(vector: dict[str, Any]) -> str:
    return str(vector["name"])


def _data(vector: dict[str, Any]) -> bytes:
    return b64decode(vector["data_base64"]) if "data_base64" in vector else str(vector["data"]).encode()


def test_the_published_file_is_current() -> None:
    """If not: `python -m tests.examples.mail_vectors > docs/mail-vectors.json`."""
    assert document() == _FILE


def test_it_names_every_way_to_be_wrong_that_is_not_mere_size() -> None:
    names = {_name(vector) for vector in _INVALID}

    assert len(names) == len(_INVALID)
    assert len(names & {bad.name for bad in BAD_MAILS}) > len(BAD_MAILS) - 25
    assert {name for vector in _INVALID for name in vector["refused_by"]} == {"producer", "worker", "schema"}


@pytest.mark.parametrize("vector", _VALID, ids=_name)
def test_a_valid_mail_is_read_by_all_and_is_its_canonical_form(vector: dict[str, Any]) -> None:
    mail = decode_message(Message(_data(vector), vector["attributes"]))

    assert mail == parse(_data(vector))
    assert encode(mail) == vector["canonical"].encode()
    assert message_for(mail).attributes == vector["attributes"]
    _SCHEMA.validate(orjson.loads(_data(vector)))


def test_mails_of_one_id_are_one_content_and_those_of_two_forms_of_it_are_two_mails() -> None:
    contents = defaultdict(set)
    for vector in _VALID:
        contents[vector["attributes"]["mail_id"]].add((vector["canonical"], digest(parse(_data(vector)))))

    assert [len(found) for found in contents.values()] == [1] * len(contents)
    assert {"gr\u00fc\u00dfe", "gru\u0308\u00dfe"} < contents.keys()


@pytest.mark.parametrize("vector", _INVALID, ids=_name)
def test_an_invalid_mail_is_refused_by_those_who_are_named_and_by_its_field(vector: dict[str, Any]) -> None:
    refusals = {
        "producer": _refusal(lambda: parse(_data(vector))),
        "worker": _refusal(lambda: decode_message(Message(_data(vector), vector["attributes"]))),
    }

    expected = {who: vector["field"] if who in vector["refused_by"] else None for who in refusals}
    if "producer" not in vector["refused_by"]:
        expected["producer"] = refusals[
            "producer"
        ]  # it has no attributes to judge, and makes an id where there is none
    assert refusals == expected


def _refusal(read: Any) -> str | None:
    try:
        read()
    except InvalidMailError as error:
        return error.field
    return None


@pytest.mark.parametrize("vector", [each for each in _INVALID if "schema" in each["refused_by"]], ids=_name)
def test_the_schema_alone_finds_what_it_is_said_to_find(vector: dict[str, Any]) -> None:
    assert not _SCHEMA.is_valid(orjson.loads(_data(vector)))


def _example() -> ModuleType:
    spec = spec_from_file_location("publish_example", ROOT / "examples" / "publish" / "python" / "publish.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_python_example_finds_every_shard() -> None:
    found = _example().place

    for each in _PLACES:
        closed = tuple(each["closed"])
        assert found(each["mail_id"], each["count"], each["key"], each["hand"], closed) == each["shard"], each
    for vector in _VALID:
        for count, hand, shard in _shards(vector):
            key = vector["attributes"].get("shard_key", "")
            assert found(vector["attributes"]["mail_id"], count, key, hand) == shard


def _shards(vector: dict[str, Any]) -> list[tuple[int, int, int]]:
    """Return count, hand and shard of all that a vector says."""
    plain = [(int(count), 0, shard) for count, shard in vector["shards"].items()]
    return plain + [(each["count"], each["hand"], each["shard"]) for each in vector["hands"]]


def test_the_node_example_finds_every_shard_and_writes_mails_as_they_are_published() -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    command = [
        "node",
        str(Path(__file__).parent / "vectors.mjs"),
        str(PUBLISHED),
        str(ROOT / "docs" / "shard-vectors.json"),
    ]
    done = subprocess.run(command, capture_output=True, check=False, timeout=30)

    assert (done.returncode, done.stderr.decode()) == (0, "")
    found = orjson.loads(done.stdout)
    assert found["places"] == [each["shard"] for each in _PLACES]
    assert found["shards"] == [[shard for _, _, shard in _shards(vector)] for vector in _VALID]
    assert found["written"] == [vector["canonical"] for vector in _VALID]
