"""Where keys lie, for the tests of the keyring."""

import asyncio
from collections import Counter

from pydantic import SecretStr

from postman.ports.secrets import SecretRefusedError, SecretUnavailableError
from postman.runtime.keys import Keyring
from postman.testing.secrets_suite import CANARY

__all__ = ["Vault", "away", "filled_vault", "value_of"]


class Vault:
    """Where keys lie: their place can be in *trouble*, one by one, and all but *quick* ones wait for *gate*."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.trouble: dict[str, Exception] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.quick: set[str] = set()
        self.reads: Counter[str] = Counter()
        self.under_way = 0
        self.most = 0
        self.closed = 0

    def is_pinned(self, reference: str) -> bool:
        if reference.endswith("!"):
            raise SecretRefusedError("", "is malformed")
        return reference.endswith("/1")

    async def read(self, reference: str) -> SecretStr:
        self.reads[reference] += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            if reference not in self.quick:
                await self.gate.wait()
        finally:
            self.under_way -= 1
        if trouble := self.trouble.get(reference):
            raise trouble.with_traceback(None)
        if reference not in self.values:
            raise SecretRefusedError(reference, "is not there")
        return SecretStr(self.values[reference])

    async def aclose(self) -> None:
        self.closed += 1


def away(reference: str) -> SecretUnavailableError:
    return SecretUnavailableError(reference, "cannot be reached")


def filled_vault() -> Vault:
    vault = Vault()
    vault.values = {"v:a": f"{CANARY}-a", "v:b": f"{CANARY}-b", "v:a/1": f"{CANARY}-pinned"}
    return vault


async def value_of(keyring: Keyring, reference: str) -> str:
    return (await keyring.read(reference)).get_secret_value()
