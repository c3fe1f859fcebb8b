"""A worker as it is written in an afternoon, which `costs` runs and counts beside postman's.

It claims each mail in a transaction, POSTs it, marks it, and acknowledges it: one by one, on some threads, with
Google's clients and httpx as their first pages show them. It has no failover, and no answer to a doubt. At the end it
prints the milliseconds of CPU that the work took.
"""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc
import httpx
from google.api_core.exceptions import DeadlineExceeded
from google.cloud import firestore_v1 as firestore
from google.pubsub_v1 import SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from postman.core.wire import decode

__all__ = ["main"]

_THREADS: Final = 10
_PULLED: Final = 10


@firestore.transactional
def _claim(transaction: Any, document: Any) -> bool:
    if document.get(transaction=transaction).exists:
        return False
    transaction.create(document, {"state": "sending", "at": firestore.SERVER_TIMESTAMP})
    return True


class _Worker:
    def __init__(self, subscription: str, url: str) -> None:
        channel = grpc.insecure_channel(os.environ["PUBSUB_EMULATOR_HOST"])
        self._subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        self._database = firestore.Client(project=os.environ["GOOGLE_CLOUD_PROJECT"])
        self._http = httpx.Client(headers={"authorization": f"Bearer {os.environ['SENDGRID_KEY']}"}, trust_env=False)
        self._subscription = subscription
        self._url = url

    def run(self, mails: int) -> None:
        with ThreadPoolExecutor(_THREADS) as pool:
            done = 0
            while done < mails:
                done += sum(pool.map(self._deliver, self._pull()))

    def _pull(self) -> list[Any]:
        try:
            answer = self._subscriber.pull(subscription=self._subscription, max_messages=_PULLED, timeout=5.0)
        except DeadlineExceeded:
            return []
        return list(answer.received_messages)

    def _deliver(self, received: Any) -> bool:
        mail = decode(received.message.data)
        document = self._database.collection("naive-mails").document(mail.id)
        if _claim(self._database.transaction(), document):
            plain = {
                "personalizations": [{"to": [{"email": each.email} for each in mail.to]}],
                "from": {"email": mail.from_.email},
                "subject": mail.subject,
                "content": [{"type": "text/plain", "value": mail.text}],
            }
            self._http.post(self._url, json=plain).raise_for_status()
            document.update({"state": "sent", "sent_at": firestore.SERVER_TIMESTAMP})
        self._subscriber.acknowledge(subscription=self._subscription, ack_ids=[received.ack_id])
        return True


def main() -> None:
    """Work until all mails are acknowledged; the arguments are a subscription, a URL, and how many mails there are."""
    subscription, url, mails = sys.argv[1:]
    worker = _Worker(subscription, url)
    before = time.process_time()
    worker.run(int(mails))
    sys.stdout.write(f"{1e3 * (time.process_time() - before):.1f}\n")
