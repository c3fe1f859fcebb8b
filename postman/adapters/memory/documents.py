"""The providers' document in this process's memory, for tests: shared by those who are handed the same object."""

from postman.adapters._documents import check_follows, dump_document, load_document
from postman.core.document import Document
from postman.errors import ConfigError
from postman.ports.opening import Cluster

__all__ = ["MemoryDocuments", "open_documents"]


class MemoryDocuments:
    """See the module. It holds text, as stores do."""

    def __init__(self) -> None:
        self._text = b""

    async def read(self) -> Document | None:
        return load_document(self._text, "memory") if self._text else None

    async def change(self, document: Document) -> None:
        check_follows(await self.read(), document)
        self._text = dump_document(document)

    async def ensure(self) -> None:
        """Nothing to make."""

    async def aclose(self) -> None:
        """Nothing to close; the document stays readable."""


def open_documents(rest: str, cluster: Cluster) -> MemoryDocuments:  # noqa: ARG001 — the shape of an opening
    """Return a new store without one. Raises `ConfigError` if *rest*, what follows `memory:`, is not empty."""
    if rest:
        raise ConfigError(f"nothing may follow memory: in POSTMAN_PROVIDERS, not {rest!r}")
    return MemoryDocuments()
