"""Promises of the OpenAPI document: valid, complete for the schema, the same every time, silent about internal fields."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from alyx.codegen import codes, describe, openapi
from alyx.records.limits import Limits
from alyx.schema import load
from alyx.schema.model import Schema

Json = dict[str, Any]
ROOT = Path(__file__).parents[2]
LIMITS = Limits()


@pytest.fixture(scope="module")
def spec(schema: Schema) -> Json:
    body, _ = openapi.document(schema, LIMITS, title="Blog", version="1.2.3")
    found: Json = json.loads(body)
    return found


def _parameters(spec: Json, path: str, method: str) -> dict[str, Json]:
    shared = spec["components"]["parameters"]
    given = spec["paths"][path][method].get("parameters", [])
    found = [shared[item["$ref"].rsplit("/", 1)[1]] if "$ref" in item else item for item in given]
    return {item["name"]: item for item in found}


def _response(spec: Json, answer: Json) -> Json:
    found: Json = spec["components"]["responses"][answer["$ref"].rsplit("/", 1)[1]]
    return found


def _check(spec: Json, name: str, value: object) -> None:
    wanted = {"$ref": f"#/components/schemas/{name}", "components": spec["components"]}
    jsonschema.Draft202012Validator(wanted, format_checker=jsonschema.FormatChecker()).validate(value)


def test_the_document_is_valid_openapi_3_1(spec: Json) -> None:
    assert spec["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(spec).validate()


@pytest.mark.slow
@pytest.mark.parametrize(
    "file",
    ["schema.yaml", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "alyx" / "cli" / "templates").glob("*/schema.yaml"))],
)
def test_the_schemas_that_we_hand_out_are_described_validly(file: str) -> None:
    OpenAPIV31SpecValidator(openapi.render(describe.api(load.load(ROOT / file), LIMITS))).validate()


def test_the_document_is_the_same_every_time(schema: Schema) -> None:
    assert openapi.document(schema, LIMITS) == openapi.document(schema, LIMITS)


def test_another_schema_has_another_etag(schema: Schema) -> None:
    less = replace(schema, collections=MappingProxyType({"users": schema.collections["users"]}))
    assert openapi.document(schema, LIMITS)[1] != openapi.document(less, LIMITS)[1]


def test_title_and_version_come_from_the_settings(spec: Json) -> None:
    assert spec["info"]["title"] == "Blog"
    assert spec["info"]["version"] == "1.2.3"


def test_the_limits_are_those_that_the_server_is_set_to(schema: Schema) -> None:
    spec = openapi.render(describe.api(schema, Limits(create_many=7, batch=3)))
    create = spec["paths"]["/api/collections/posts"]["post"]
    assert create["requestBody"]["content"]["application/json"]["schema"]["anyOf"][1]["maxItems"] == 7
    assert "at most 7" in create["description"]
    assert spec["components"]["schemas"]["Batch"]["properties"]["operations"]["maxItems"] == 3
    assert "At most 3 operations" in spec["paths"]["/api/batch"]["post"]["description"]


def test_every_collection_has_its_six_operations(spec: Json, schema: Schema) -> None:
    for name in schema.collections:
        assert set(spec["paths"][f"/api/collections/{name}"]) == {"get", "post"}
        assert set(spec["paths"][f"/api/collections/{name}/{{id}}"]) == {"get", "patch", "put", "delete"}


def test_batch_health_and_metrics_are_described(spec: Json) -> None:
    assert {
        "/api/batch",
        "/api/admin/rules/explain",
        "/health",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/api/openapi.json",
    } <= set(spec["paths"])


def test_operation_ids_are_unique(schema: Schema) -> None:
    names = [operation.name for operation in describe.api(schema, LIMITS).operations]
    assert len(names) == len(set(names))


def test_internal_fields_appear_nowhere(schema: Schema) -> None:
    assert b"password_hash" not in openapi.document(schema, LIMITS)[0]


def test_a_list_has_every_parameter_of_the_contract(spec: Json) -> None:
    found = _parameters(spec, "/api/collections/posts", "get")
    assert set(found) == {
        *("filter", "where", "sort", "limit", "offset", "page", "perPage", "cursor", "count", "fields", "search", "expand"),
        "Alyx-As-Admin",
    }


def test_filter_names_the_fields_and_their_operators(spec: Json) -> None:
    text = _parameters(spec, "/api/collections/posts", "get")["filter"]["description"]
    assert "`views`" in text
    assert all(operator in text for operator in codes.OPERATORS)


def test_expand_names_both_directions(spec: Json) -> None:
    assert "`author_id`" in _parameters(spec, "/api/collections/posts", "get")["expand"]["description"]
    assert "`posts(author_id)`" in _parameters(spec, "/api/collections/users", "get")["expand"]["description"]
    assert "expand" not in _parameters(spec, "/api/collections/order", "get")


def test_expanded_records_are_described_under_expand(spec: Json) -> None:
    users, posts = spec["components"]["schemas"]["users"], spec["components"]["schemas"]["posts"]
    assert users["properties"]["expand"]["properties"]["posts(author_id)"]["items"] == {"$ref": "#/components/schemas/posts"}
    assert posts["properties"]["expand"]["properties"]["author_id"]["$ref"] == "#/components/schemas/users"


@pytest.mark.parametrize(
    ("method", "header"), [("patch", "If-Match"), ("put", "If-Match"), ("delete", "If-Match"), ("get", "If-None-Match")]
)
def test_conditional_headers_are_described(spec: Json, method: str, header: str) -> None:
    assert header in _parameters(spec, "/api/collections/posts/{id}", method)


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/api/collections/posts", "post"),
        ("/api/collections/posts/{id}", "patch"),
        ("/api/collections/posts/{id}", "put"),
        ("/api/collections/posts/{id}", "delete"),
        ("/api/batch", "post"),
    ],
)
def test_every_write_takes_an_idempotency_key(spec: Json, path: str, method: str) -> None:
    assert "Idempotency-Key" in _parameters(spec, path, method)


def test_a_write_tells_every_status_that_it_may_answer_with(spec: Json) -> None:
    found = set(spec["paths"]["/api/collections/posts/{id}"]["patch"]["responses"])
    assert {"200", "204", "400", "401", "403", "404", "409", "412", "413", "415", "429", "503"} <= found


def test_errors_narrow_the_code_to_their_status(spec: Json) -> None:
    answer = _response(spec, spec["paths"]["/api/collections/posts/{id}"]["patch"]["responses"]["412"])
    assert answer["content"]["application/json"]["schema"]["allOf"][1]["properties"]["code"]["enum"] == ["CONFLICT"]


def test_the_error_schema_takes_an_envelope_and_refuses_an_unknown_code(spec: Json) -> None:
    envelope = {"error": "No.", "code": "FORBIDDEN", "request_id": "r", "timestamp": "2026-03-01T08:00:00.123456Z"}
    _check(spec, "Error", envelope)
    with pytest.raises(jsonschema.ValidationError):
        _check(spec, "Error", envelope | {"code": "NOPE"})


def test_a_create_body_requires_what_the_server_cannot_fill_in(spec: Json) -> None:
    assert spec["components"]["schemas"]["posts.create"]["required"] == ["title", "author_id"]


def test_bodies_refuse_unknown_members(spec: Json) -> None:
    with pytest.raises(jsonschema.ValidationError):
        _check(spec, "posts.create", {"title": "a", "author_id": "018f2b6e-7c1a-7c52-9d0e-3f5b8a1c4d2e", "nope": 1})


def test_bodies_state_limits_and_answers_do_not(spec: Json) -> None:
    schemas = spec["components"]["schemas"]
    assert schemas["posts.create"]["properties"]["title"]["maxLength"] == 200
    assert "maxLength" not in schemas["posts"]["properties"]["title"]


def test_a_number_may_be_incremented_in_a_patch_only(spec: Json) -> None:
    _check(spec, "posts.patch", {"views": {"$inc": 1}})
    with pytest.raises(jsonschema.ValidationError):
        _check(spec, "posts.create", {"title": "a", "author_id": "018f2b6e-7c1a-7c52-9d0e-3f5b8a1c4d2e", "views": {"$inc": 1}})


def test_integers_are_64_bit_and_timestamps_are_date_times(spec: Json) -> None:
    found = spec["components"]["schemas"]["posts"]["properties"]
    assert (found["views"]["type"], found["views"]["format"]) == ("integer", "int64")
    assert found["created_at"]["format"] == "date-time"


def test_a_pattern_that_ecma_script_cannot_say_is_told_in_words(spec: Json) -> None:
    found = spec["components"]["schemas"]["values.create"]["properties"]
    assert found["slug"]["pattern"] == "^[a-z0-9-]+$"
    assert "pattern" not in found["odd"]
    assert r"(?i)^\pL+$" in found["odd"]["description"]


def test_every_example_fits_its_own_schema(spec: Json) -> None:
    for name, value in spec["components"]["schemas"].items():
        for example in value.get("examples", []):
            if "slug" in value["properties"]:
                example = example | {"slug": "a"}
            if name == "values.list":
                continue
            _check(spec, name, example)


def test_a_document_of_every_type_fits_its_schema(spec: Json) -> None:
    record = {
        "id": "a1B2c3D4e5F6g7H",
        "slug": "x",
        "small": -5,
        "ratio": 1.0,
        "price": "10.50",
        "done": True,
        "day": "2026-03-01",
        "meta": [1, {"a": None}],
        "data": "AA==",
        "mail": "a@b.c",
        "site": "https://a.b",
        "labels": ["x"],
        "post": None,
        "note": None,
        "odd": None,
        "kind": None,
        "link": None,
    }
    _check(spec, "values", record)


@pytest.mark.slow
def test_a_collection_named_like_a_route_meets_no_other_name(schema: Schema) -> None:
    order = schema.collections["order"]
    names = ("batch", "health", "metrics", "list", "posts")
    odd = Schema(1, MappingProxyType({name: replace(order, name=name) for name in names}))
    spec = openapi.render(describe.api(odd, LIMITS))
    OpenAPIV31SpecValidator(spec).validate()
    assert len(spec["paths"]) == 2 * len(names) + 9
