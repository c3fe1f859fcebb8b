"""Answers of the look-ups against the vendors' official specifications."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import orjson
import pytest
import yaml

SPECIFICATIONS = Path(__file__).parents[4] / "shared" / "facts" / "specs"
Make = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.skipif(
    not SPECIFICATIONS.is_dir(), reason="official specifications not found beside the project"
)


def specification(name: str) -> dict[str, Any]:
    text = (SPECIFICATIONS / name).read_text(encoding="utf-8")
    loaded: dict[str, Any] = orjson.loads(text) if name.endswith(".json") else yaml.load(text, Loader=yaml.CSafeLoader)
    return loaded


def response_schema(loaded: dict[str, Any], path: str, method: str, status: str) -> dict[str, Any]:
    content = loaded["paths"][path][method]["responses"][status]["content"]["application/json"]
    return {**content["schema"], "components": loaded["components"]}


async def test_sendgrids_activity_feed_answers_as_specified(sendgrid: httpx.AsyncClient, document: Make) -> None:
    schema = response_schema(specification("sendgrid_email_activity_v3.yaml"), "/v3/messages", "get", "200")
    await sendgrid.post("/v3/mail/send", json=document())

    found = (await sendgrid.get("/v3/messages", params={"query": 'to_email="ann@example.com"'})).json()

    assert found["messages"]
    jsonschema.validate(found, schema)


async def test_sendgrids_logs_answer_as_specified(sendgrid: httpx.AsyncClient, document: Make) -> None:
    loaded = specification("sendgrid_logs_v3.yaml")
    await sendgrid.post("/v3/mail/send", json=document(categories=["receipts"]))

    listed = (await sendgrid.post("/v3/logs", json={"query": 'to_email="ann@example.com"'})).json()
    jsonschema.validate(listed, response_schema(loaded, "/v3/logs", "post", "200"))
    detail = (await sendgrid.get(f"/v3/logs/{listed['messages'][0]['sg_message_id']}")).json()
    jsonschema.validate(detail, response_schema(loaded, "/v3/logs/{sg_message_id}", "get", "200"))

    assert detail["events"]


async def test_sendgrids_refusals_are_as_specified(sendgrid: httpx.AsyncClient) -> None:
    schema = specification("sendgrid_mail_v3.json")["components"]["schemas"]["ErrorResponse"]
    nullable = orjson.loads(
        orjson.dumps(schema).replace(b'"nullable":true,"type":"string"', b'"type":["string","null"]')
    )
    nullable["properties"]["errors"]["items"]["properties"].pop("help")

    answer = await sendgrid.post("/v3/mail/send", json={})

    assert len(answer.json()["errors"]) > 1
    jsonschema.validate(answer.json(), nullable)


async def test_mailguns_answers_are_as_specified(mailgun: httpx.AsyncClient, form: Make) -> None:
    loaded = specification("mailgun_openapi.yaml")
    accepted = await mailgun.post("/v3/mg.example.org/messages", data=form())
    jsonschema.validate(accepted.json(), response_schema(loaded, "/v3/{domain_name}/messages", "post", "200"))

    events = (await mailgun.get("/v3/mg.example.org/events")).json()

    assert len(events["items"]) == 2
    jsonschema.validate(events, response_schema(loaded, "/v3/{domain_name}/events", "get", "200"))
