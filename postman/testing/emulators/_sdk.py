"""The emulators among the components of the Google Cloud SDK.

Java is started directly: `gcloud … start` takes seconds longer, and killing it
leaves Java behind.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from postman.testing.emulators._service import EmulatorError, Service

__all__ = ["Command", "component", "is_installed"]

Command = Callable[[int], Sequence[str]]
"""From a port of 127.0.0.1 to the arguments that make an emulator listen there."""

_FIRESTORE_MAIN = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
_GCLOUD_LIMIT = 20.0


def component(service: Service, *, heap: str, environment: Mapping[str, str] = os.environ) -> Command:
    """Return how to start *service* with *heap* (as after `-Xmx`); `EmulatorError` where it is not installed."""
    java = _java(environment)
    jar = _jar(service, environment)
    options = ("-Duser.language=en", "-XX:-UsePerfData", f"-Xmx{heap}")
    main = ("-jar", str(jar)) if service is Service.PUBSUB else ("-cp", str(jar), _FIRESTORE_MAIN)
    return lambda port: (java, *options, *main, "--host=127.0.0.1", f"--port={port}")


def is_installed(service: Service, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether Java and the component are here, so that *service* ought to start."""
    try:
        component(service, heap="1g", environment=environment)
    except EmulatorError:
        return False
    return True


def _java(environment: Mapping[str, str]) -> str:
    home = environment.get("JAVA_HOME")
    found = home and shutil.which("java", path=f"{home}/bin")
    found = found or shutil.which("java", path=environment.get("PATH"))
    if not found:
        raise EmulatorError("no java on PATH")
    return found


def _jar(service: Service, environment: Mapping[str, str]) -> Path:
    pattern = {
        Service.PUBSUB: "platform/pubsub-emulator/lib/cloud-pubsub-emulator-*.jar",
        Service.FIRESTORE: "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar",
    }[service]
    roots = []
    for root in _roots(environment):
        if jars := sorted(root.glob(pattern)):
            return jars[-1]
        roots.append(str(root))
    if not roots:
        raise EmulatorError("no Google Cloud SDK found (no CLOUDSDK_ROOT, no gcloud on PATH)")
    raise EmulatorError(f"the component is not installed in {' or '.join(dict.fromkeys(roots))}")


def _roots(environment: Mapping[str, str]) -> Iterator[Path]:
    """Yield where the SDK may lie, the cheap guesses first."""
    if root := environment.get("CLOUDSDK_ROOT"):
        yield Path(root)
    if gcloud := shutil.which("gcloud", path=environment.get("PATH")):
        yield Path(gcloud).resolve().parent.parent
        if told := _told_by(gcloud):
            yield Path(told)


@cache
def _told_by(gcloud: str) -> str:
    """Ask the *gcloud* at this path for its root; empty where it does not know."""
    command = (gcloud, "info", "--format=value(installation.sdk_root)")
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_GCLOUD_LIMIT, check=False)  # noqa: S603 — a path of PATH, no shell
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip()
