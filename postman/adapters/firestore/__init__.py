from postman.adapters.firestore._channel import Database
from postman.adapters.firestore.ledger import FirestoreLedger, open_ledger

__all__ = ["Database", "FirestoreLedger", "open_ledger"]
