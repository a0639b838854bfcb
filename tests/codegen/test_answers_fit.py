"""What the server really answers fits what it says of itself: statuses, bodies and headers against its own OpenAPI document."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from alyx import config as settings
from alyx.app import build
from alyx.auth import tokens
from tests.asgi import Answer, Client

USER = "018f2b6e-0000-7c52-9d0e-000000000001"
THING = "018f2b6e-0000-7c52-9d0e-000000000002"
_C = "/api/collections"
_SECRET = "s" * 32
ADMIN = {"authorization": f"Bearer {tokens.issue(tokens.Settings(_SECRET), USER, role='admin')}"}
_FULL: dict[str, Any] = {
    "id": THING,
    "title": "one \U0001f600",
    "slug": "a-1",
    "count": 9223372036854775807,
    "ratio": 0.1,
    "price": "10.5",
    "done": True,
    "at": "2026-03-01T09:00:00.5+01:00",
    "day": "2026-03-01",
    "meta": {"a": [1, None, {"b": "c"}]},
    "data": base64.b64encode(bytes(range(256))).decode(),
    "mail": "ada@example.com",
    "site": "https://example.com/a?b=c",
    "kind": "b",
    "tags": ["x", "z"],
    "rich": "<p>a</p>",
    "owner_id": USER,
}
CALLS: list[tuple[str, str, Any, dict[str, str]]] = [
    ("POST", f"{_C}/users", {"id": USER, "name": "Ada"}, {}),
    ("POST", f"{_C}/things", _FULL, {}),
    ("POST", f"{_C}/things", [{"title": "two"}, {"title": "three"}], {"idempotency-key": "k"}),
    ("POST", f"{_C}/things", [{"title": "two"}, {"title": "three"}], {"idempotency-key": "k"}),
    ("POST", f"{_C}/things", {"title": "four"}, {"idempotency-key": "k"}),
    ("POST", f"{_C}/things", {"title": "hidden"}, {}),
    ("POST", f"{_C}/things", {"title": "forbidden"}, {}),
    ("POST", f"{_C}/things", {}, {}),
    ("POST", f"{_C}/things", {"title": "x", "slug": "a-1"}, {}),
    ("POST", f"{_C}/things", {"title": "x", "owner_id": THING}, {}),
    ("POST", f"{_C}/select", {"order": "x"}, {}),
    ("POST", f"{_C}/closed", {"word": "x"}, {}),
    ("GET", f"{_C}/things", None, {}),
    ("GET", f"{_C}/things?limit=1&sort=-count&expand=owner_id", None, {}),
    ("GET", f"{_C}/users?expand=things(owner_id).owner_id", None, {}),
    ("GET", f"{_C}/things?count=none", None, {}),
    ("GET", f"{_C}/things?limit=0", None, {}),
    ("GET", f"{_C}/things?filter=nope:eq:1", None, {}),
    ("GET", f"{_C}/closed", None, {}),
    ("GET", f"{_C}/things", None, {"authorization": "Bearer x"}),
    ("GET", f"{_C}/things/{THING}", None, {}),
    ("GET", f"{_C}/things/{THING}?expand=owner_id", None, {}),
    ("GET", f"{_C}/things/{USER}", None, {}),
    ("GET", f"{_C}/select/1", None, {}),
    ("PATCH", f"{_C}/things/{THING}", {"title": "1"}, {"if-match": '"x"'}),
    ("PATCH", f"{_C}/things/{THING}", {"count": {"$inc": -7}}, {}),
    ("PATCH", f"{_C}/things/{THING}", {"count": "7"}, {}),
    ("PUT", f"{_C}/things/{THING}", {"title": "again"}, {}),
    ("PUT", f"{_C}/things/018f2b6e-0000-7c52-9d0e-000000000009?upsert=true", {"title": "made"}, {}),
    ("PUT", f"{_C}/things/{USER}", {"title": "made"}, {}),
    ("PATCH", f"{_C}/things/{THING}", {"title": "hidden"}, {}),
    ("DELETE", f"{_C}/users/{USER}", None, {}),
    ("DELETE", f"{_C}/select/1", None, {}),
    ("DELETE", f"{_C}/select/1", None, {}),
    ("POST", "/api/batch", {"operations": [{"method": "POST", "collection": "select", "data": {"order": "y"}}]}, {}),
    ("POST", "/api/batch", {"operations": [{"method": "DELETE", "collection": "select", "id": "7"}]}, {}),
    ("POST", "/api/batch", {"operations": []}, {}),
    ("POST", "/api/admin/rules/explain", {"collection": "things", "operation": "read", "id": THING, "auth": {"id": "x"}}, ADMIN),
    (
        "POST",
        "/api/admin/rules/explain",
        {"collection": "things", "operation": "create", "data": {"title": "x"}, "request": {"ip": "::1"}},
        ADMIN,
    ),
    ("POST", "/api/admin/rules/explain", {"collection": "closed", "operation": "delete", "id": 1}, {}),
    ("POST", "/api/admin/rules/explain", {}, ADMIN),
    ("GET", "/health", None, {}),
    ("GET", "/health/live", None, {}),
    ("GET", "/health/ready", None, {}),
    ("GET", "/metrics", None, {}),
    ("GET", "/api/openapi.json", None, {}),
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[Answer]]:
    """The server's own description, and its answer to each call."""
    folder = tmp_path_factory.mktemp("fit")
    (folder / "schema.yaml").write_bytes((Path(__file__).parents[1] / "hostile" / "schema.yaml").read_bytes())
    (folder / "alyx.yaml").write_text("docs: { title: Fit }\n")
    config = settings.load(folder / "alyx.yaml", env={})
    source = build.read_source(config)
    build.migrator(config).apply(source.schema, yes=True)

    async def ask() -> tuple[dict[str, Any], list[Answer]]:
        async with build.database(config) as engine:
            client = Client(build.Program(config, source, engine, _SECRET, observers=[], dev=False).edge)
            found = [await client.send(method, url, json=body, headers=headers) for method, url, body, headers in CALLS]
            return (await client.send("GET", "/api/openapi.json")).json(), found

    return asyncio.run(ask())


def _operation(spec: dict[str, Any], method: str, url: str) -> dict[str, Any]:
    path = url.split("?")[0]
    if path not in spec["paths"]:
        path = path.rsplit("/", 1)[0] + "/{id}"
    found: dict[str, Any] = spec["paths"][path][method.lower()]
    return found


@pytest.mark.parametrize("index", range(len(CALLS)), ids=[f"{index} {call[0]} {call[1]}" for index, call in enumerate(CALLS)])
def test_an_answer_fits_its_description(index: int, answers: tuple[dict[str, Any], list[Answer]]) -> None:
    spec, found = answers
    method, url, _, _ = CALLS[index]
    answer = found[index]
    described = _operation(spec, method, url)["responses"]
    assert str(answer.status) in described, answer
    response = described[str(answer.status)]
    if "$ref" in response:
        response = spec["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
    assert {name.lower() for name in response["headers"]} >= {"x-request-id"} & set(answer.headers)
    for name in ("etag", "location", "retry-after"):
        if name in answer.headers:
            assert name in {described_name.lower() for described_name in response["headers"]}, name
    if not answer.body:
        assert "content" not in response
        return
    media, content = next(iter(response["content"].items()))
    assert answer.headers["content-type"].startswith(media)
    if media == "application/json":
        schema = content["schema"] | {"components": spec["components"]}
        jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(answer.json())


def test_the_calls_see_every_operation_and_most_statuses(answers: tuple[dict[str, Any], list[Answer]]) -> None:
    spec, found = answers
    seen = {_operation(spec, method, url)["operationId"].split("_")[0] for method, url, _, _ in CALLS}
    assert seen == {"list", "create", "get", "update", "replace", "delete", "batch", "explain", "health", "metrics", "openapi"}
    assert {200, 201, 204, 400, 401, 403, 404, 409, 412} <= {answer.status for answer in found}


def test_bodies_that_the_server_takes_fit_the_description_of_bodies(answers: tuple[dict[str, Any], list[Answer]]) -> None:
    spec, found = answers
    for (method, url, body, _), answer in zip(CALLS, found, strict=True):
        if body is None or answer.status >= 300:
            continue
        schema = _operation(spec, method, url)["requestBody"]["content"]["application/json"]["schema"]
        jsonschema.Draft202012Validator(schema | {"components": spec["components"]}).validate(json.loads(json.dumps(body)))
