"""Entries as documents, and how the Firestore ledger is opened; nothing here connects."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from postman.adapters.firestore import Database, open_ledger
from postman.adapters.firestore._channel import connect
from postman.adapters.firestore._documents import creation, document_id, entry_of, seconds_of, update
from postman.adapters.firestore.ledger import _waves
from postman.core.ids import MailId
from postman.core.protocol import Entry, Note, State
from postman.errors import ConfigError, LedgerUnavailableError
from postman.ports.opening import Cluster
from postman.testing.clock import FakeClock
from postman.testing.ledger import HOSTILE_IDS

NOW = 1_700_000_000.0

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
notes = st.builds(Note, st.floats(NOW, NOW + 1e6), texts, texts, texts)
entries = st.builds(
    Entry,
    st.sampled_from(State),
    token=st.integers(0, 9),
    digest=texts,
    claim_id=texts,
    provider=texts,
    since=st.integers(0, 10**9).map(lambda micros: NOW + micros / 1e6),
    lease_ends=st.just(0.0),
    attempts=st.integers(0, 9),
    message_id=texts,
    reason=texts,
    parked=st.booleans(),
    dropped=st.booleans(),
    recipients=st.lists(texts, max_size=3).map(tuple),
    history=st.lists(notes, max_size=4).map(tuple),
)


@given(entries, st.integers(0, 100))
def test_entry_comes_back_as_it_was_written(entry: Entry, lease: int) -> None:
    """To the microsecond, and with its whole history."""
    entry = replace(entry, lease_ends=entry.since + lease if lease else 0.0)
    write = creation("name", entry, expire_at=NOW, server_time=False)
    assert _rounded(entry_of(write.update)) == _rounded(entry)


@given(entries, entries, st.booleans())
def test_update_changes_what_differs(before: Entry, after: Entry, is_longer: bool) -> None:
    """Applied to the document of the one entry, it makes that of the other, and its mask names nothing else."""
    if is_longer:
        after = replace(after, history=(*before.history, *after.history))
    document = creation("name", before, expire_at=NOW, server_time=False).update
    write = update("name", before, after, version=Timestamp(seconds=7), expire_at=NOW, server_time=False)
    _apply(document, write)
    assert _rounded(entry_of(document)) == _rounded(after)
    assert write.current_document.update_time.seconds == 7


def test_update_of_one_field_names_two() -> None:
    """The one that changed, and the time of deletion."""
    before = Entry(State.SENDING, token=1, provider="alpha")
    write = update(
        "name", before, replace(before, provider="beta"), version=Timestamp(), expire_at=NOW, server_time=True
    )
    assert set(write.update_mask.field_paths) == {"provider", "expire_at"}
    assert not write.update_transforms


def test_server_gives_the_time() -> None:
    """The start of a state is asked of the server, not taken from the worker."""
    before = Entry(State.SENDING, token=1, since=NOW)
    changed = update(
        "name",
        before,
        replace(before, state=State.SENT, since=NOW + 1),
        version=Timestamp(),
        expire_at=NOW,
        server_time=True,
    )
    made = creation("name", before, expire_at=NOW, server_time=True)
    for write in (changed, made):
        assert [transform.field_path for transform in write.update_transforms] == ["since"]
        assert "since" not in write.update.fields


def test_state_that_is_unknown_is_refused() -> None:
    """A state that a later version invented is not taken for one of ours."""
    document = creation("name", Entry(State.FREE), expire_at=NOW, server_time=False).update
    document.fields["state"].string_value = "paused"
    with pytest.raises(LedgerUnavailableError, match="paused"):
        entry_of(document)


def test_document_ids_differ_and_are_allowed() -> None:
    """Firestore forbids slashes, two names of dots, names between double underscores and more than 1,500 bytes."""
    ids = [document_id(mail_id) for mail_id in HOSTILE_IDS]
    assert len(set(ids)) == len(HOSTILE_IDS)
    for text in ids:
        assert "/" not in text
        assert not text.startswith(("__", "."))
        assert len(text.encode()) <= 1_500


@given(texts, texts)
def test_ids_that_differ_have_documents_that_differ(one: str, other: str) -> None:
    """The escaping can be undone."""
    assert (document_id(MailId(one)) == document_id(MailId(other))) is (one == other)


def test_document_ids_are_spread() -> None:
    """Ids that follow each other do not lie together."""
    heads = {document_id(MailId(f"order-{number}"))[:1] for number in range(100)}
    assert len(heads) == 16


@given(st.lists(st.sampled_from("abc"), max_size=12))
def test_no_document_comes_twice_in_a_request(names: list[str]) -> None:
    """Each write travels once, and those of one document in their order."""
    waves = _waves(names)
    assert sorted(number for wave in waves for number in wave) == list(range(len(names)))
    for wave in waves:
        assert len({names[number] for number in wave}) == len(wave)
    for name in set(names):
        order = [number for wave in waves for number in wave if names[number] == name]
        assert order == sorted(order)


def test_many_different_documents_travel_together() -> None:
    """Only what comes twice needs a second request."""
    assert len(_waves(list("abcdef"))) == 1
    assert len(_waves(list("abca"))) == 2


@pytest.mark.parametrize("database", ["a/b", "Upper", "ab", "x" * 64, "-ab", "default)"])
def test_wrong_name_of_a_database_is_a_wrong_setting(database: str) -> None:
    """It is named before anything connects."""
    with pytest.raises(ConfigError, match="database"):
        open_ledger(database, Cluster(FakeClock(), project="demo"))


def test_missing_project_is_a_wrong_setting() -> None:
    """The message names the setting."""
    with pytest.raises(ConfigError, match="POSTMAN_PROJECT"):
        open_ledger("", Cluster(FakeClock()))


async def test_missing_credentials_are_a_wrong_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They are looked for at the first call, not at opening."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    monkeypatch.delenv("FIRESTORE_EMULATOR_HOST", raising=False)
    ledger = open_ledger("", Cluster(FakeClock(), project="demo"))
    with pytest.raises(ConfigError, match="credentials"):
        await ledger.check()
    await ledger.aclose()


async def test_credentials_make_a_channel_to_google(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With TLS and a token for each call; nothing connects before the first one."""
    key = tmp_path / "key.json"
    key.write_text(json.dumps(_service_account()))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    channel = await connect(Database("demo"))
    assert channel.get_state() is grpc.ChannelConnectivity.IDLE
    await channel.close()


def test_only_the_emulator_is_told_that_we_own_it() -> None:
    """Google's own Firestore gets the routing header and the account's token."""
    google, emulator = Database("demo").metadata, Database("demo", emulator="127.0.0.1:1").metadata
    assert google == (("x-goog-request-params", "database=projects%2Fdemo%2Fdatabases%2F%28default%29"),)
    assert emulator == (*google, ("authorization", "Bearer owner"))


def _service_account() -> dict[str, str]:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {
        "type": "service_account",
        "client_email": "worker@demo.iam.gserviceaccount.com",
        "private_key": pem.decode(),
        "token_uri": "https://127.0.0.1:1/token",
    }


def _apply(document: Any, write: Any) -> None:
    assert set(write.update.fields) <= set(write.update_mask.field_paths)
    assert len(set(write.update_mask.field_paths)) == len(write.update_mask.field_paths)
    for gone in set(write.update_mask.field_paths) - set(write.update.fields):
        document.fields.pop(gone, None)
    for field in write.update.fields:
        document.fields[field].CopyFrom(write.update.fields[field])
    for transform in write.update_transforms:
        assert transform.field_path == "history"
        values = document.fields["history"].array_value.values
        values.extend(value for value in transform.append_missing_elements.values if value not in values)


def _rounded(entry: Entry | None) -> Entry:
    assert entry is not None
    return replace(
        entry,
        since=round(entry.since, 5),
        lease_ends=round(entry.lease_ends, 5),
        history=tuple(dict.fromkeys(entry.history)),
    )


def test_seconds_count_from_1970() -> None:
    """With fractions."""
    assert seconds_of(Timestamp(seconds=3, nanos=250_000_000)) == 3.25
