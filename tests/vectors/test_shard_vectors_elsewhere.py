"""Producers in other languages put every mail into the same shard: two small programs that share no code with ours."""

import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

_HERE: Final = Path(__file__).parent
_DOCS: Final = _HERE.parents[1] / "docs"
_PATH: Final = _DOCS / "shard-vectors.json"
_FILE: Final[dict[str, Any]] = orjson.loads(_PATH.read_bytes())

_BY_ID: Final = [
    {"mail_id": vector["id"], "key": "", "hand": 0, "closed": [], "count": int(count), "shard": shard}
    for vector in _FILE["vectors"]
    for count, shard in vector["shards"].items()
]
_VECTORS: Final = [*_BY_ID, *_FILE["places"]]


def test_node_puts_every_mail_into_the_same_shard() -> None:
    _need("node")
    _compare(_run("node", str(_HERE / "shard.mjs"), str(_PATH)))


def test_bash_puts_every_mail_into_the_same_shard() -> None:
    _need("sha256sum")
    _compare(_run("bash", str(_HERE / "shard.sh"), text="".join(_line(vector) for vector in _VECTORS)))


def test_the_pages_example_is_a_vector() -> None:
    assert orjson.loads(_block("json")) in _FILE["places"]


def _block(language: str) -> str:
    page = (_DOCS / "shard-mapping.md").read_text(encoding="utf-8")
    return page.split(f"```{language}\n", 1)[1].split("```", 1)[0]


def _need(tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")


def _run(*command: str, text: str = "") -> list[int]:
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
    assert (done.returncode, done.stderr.decode()) == (0, "")
    return [int(line) for line in done.stdout.split()]


def _line(vector: dict[str, Any]) -> str:
    closed = " ".join(str(shard) for shard in vector["closed"])
    return "\x1f".join((vector["mail_id"], vector["key"], str(vector["hand"]), closed, str(vector["count"]))) + "\n"


def _compare(shards: list[int]) -> None:
    assert len(shards) == len(_VECTORS)
    assert [(vector, found) for vector, found in zip(_VECTORS, shards, strict=True) if vector["shard"] != found] == []
