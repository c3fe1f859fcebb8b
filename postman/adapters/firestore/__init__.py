from postman.adapters.firestore._channel import Database
from postman.adapters.firestore.ledger import FirestoreLedger, open_ledger
from postman.adapters.firestore.roster import FirestoreRoster, open_roster

__all__ = ["Database", "FirestoreLedger", "FirestoreRoster", "open_ledger", "open_roster"]
