from postman.adapters.firestore._channel import Database
from postman.adapters.firestore.documents import FirestoreDocuments, open_documents
from postman.adapters.firestore.layouts import FirestoreLayouts, open_layouts
from postman.adapters.firestore.ledger import FirestoreLedger, open_ledger
from postman.adapters.firestore.records import FirestoreRecords, open_records
from postman.adapters.firestore.roster import FirestoreRoster, open_roster
from postman.adapters.firestore.suppressions import FirestoreSuppressions, open_suppressions

__all__ = [
    "Database",
    "FirestoreDocuments",
    "FirestoreLayouts",
    "FirestoreLedger",
    "FirestoreRecords",
    "FirestoreRoster",
    "FirestoreSuppressions",
    "open_documents",
    "open_layouts",
    "open_ledger",
    "open_records",
    "open_roster",
    "open_suppressions",
]
