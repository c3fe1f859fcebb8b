"""What the README tells a newcomer to type works."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from postman.config import Settings
from postman.testing.waiting import wait_until_blocking

_ROOT = Path(__file__).parents[2]
_README = (_ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", _README, re.DOTALL)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture
def shell(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The commands to run by hand, typed into a shell with the project installed and other ports."""
    [_, by_hand] = _blocks("sh")
    first, rest = by_hand.split("\n", 1)
    assert first.startswith("python3 -m venv")
    control, sendgrid, mailgun = _free_ports(3)
    ports = f"--port {control} --sendgrid-port {sendgrid} --mailgun-port {mailgun}"
    script = rest.replace("postman sandbox", f"postman sandbox {ports}").replace(
        "export POSTMAN_PROVIDERS", "while [ ! -e providers.toml ]; do sleep 0.1; done\nexport POSTMAN_PROVIDERS"
    )
    environ = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    process = subprocess.Popen(
        ["bash", "-ec", f"{script}\nwait"],
        cwd=tmp_path,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    yield process
    os.killpg(process.pid, signal.SIGTERM)
    process.communicate(timeout=20)


def test_the_commands_to_run_by_hand_deliver_a_mail(shell: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    assert shell.stdout is not None
    mail_id = ""
    for line in shell.stdout:
        if line.startswith(b'{"id"'):
            mail_id = orjson.loads(line)["id"]
            break
    assert mail_id

    def is_sent() -> bool:
        command = [sys.executable, "-m", "postman", "show", "--json", mail_id]
        shown = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
        return shown.returncode == 0 and orjson.loads(shown.stdout)["state"] == "sent"

    assert wait_until_blocking(is_sent, within=20.0, every=0.3)


def test_the_python_example_publishes(tmp_path: Path) -> None:
    [example] = _blocks("python")
    subprocess.run([sys.executable, "-c", example], cwd=tmp_path, check=True, timeout=30)

    assert (tmp_path / ".postman" / "postman.db").exists()


def test_every_command_and_setting_of_the_readme_exists() -> None:
    done = subprocess.run([sys.executable, "-m", "postman", "--help"], capture_output=True, text=True, check=True)
    commands = set(re.findall(r"^\| `postman (\w+)", _README, re.MULTILINE))
    assert commands
    assert all(re.search(rf"\b{command}\b", done.stdout) for command in commands)
    settings = set(re.findall(r"^\| `POSTMAN_(\w+)`", _README, re.MULTILINE))
    assert settings == {name.upper() for name in Settings.model_fields}


def test_every_file_that_the_readme_points_to_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)#:]+)\)", _README) if "//" not in link]

    assert links
    assert [link for link in links if not (_ROOT / link).exists()] == []
