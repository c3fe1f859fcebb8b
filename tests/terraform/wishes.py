"""What teams may ask of the module."""

from collections.abc import Mapping
from typing import Final

from tests.terraform.runs import CANARY

__all__ = ["EVERYTHING", "PROJECT", "PUSHED"]

PROJECT: Final = "acme-mail"

_IMAGE: Final = "postman@sha256:" + "0" * 64

EVERYTHING: Final[Mapping[str, object]] = {
    "project": PROJECT,
    "region": "europe-west1",
    "shards": 2,
    "image": _IMAGE,
    "mail_providers": {
        "mailgun-eu": {
            "kind": "mailgun",
            "domain": "mg.example.org",
            "base_url": "https://api.eu.mailgun.net",
            "look_up_after": 1800,
            "events": True,
        },
        "sendgrid": {"kind": "sendgrid", "rate": 50.5, "concurrency": 20, "timeout": 10, "events": True},
        "spare": {"kind": "sendgrid", "weight": 0, "enabled": False, "key_version": 2},
    },
    "provider_keys": {
        "mailgun-eu": {"api_key": f"{CANARY}-1", "webhook_key": f"{CANARY}-2"},
        "sendgrid": {"api_key": f"{CANARY}-3", "webhook_key": f"{CANARY}-4"},
        "spare": {"api_key": f"{CANARY}-5"},
    },
    "publishers": ["serviceAccount:shop@acme-shop.iam.gserviceaccount.com"],
    "layout_readers": ["serviceAccount:shop@acme-shop.iam.gserviceaccount.com"],
    "callers": ["serviceAccount:portal@acme-shop.iam.gserviceaccount.com"],
    "operators": ["group:night@example.org"],
    "console": True,
    "console_users": ["group:desk@example.org"],
    "console_operators": ["example.org", "ana@example.com"],
    "alert_emails": ["night@example.org"],
    "settings": {"POSTMAN_CONCURRENCY": "40"},
}

PUSHED: Final[Mapping[str, object]] = {**EVERYTHING, "push": True, "console_iap": True}
