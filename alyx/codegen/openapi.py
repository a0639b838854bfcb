"""The API's description as OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.1).

Pure: `render` is a value, `document` its bytes with an ETag. Called once per schema by `http.docs`. Names of collections and
fields go into JSON as they are; whoever shows them as HTML must escape them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

from alyx.base import json
from alyx.codegen import describe
from alyx.codegen.shapes import (
    Answer,
    Anything,
    Api,
    Body,
    Many,
    Member,
    Named,
    Null,
    Object,
    OneOf,
    Operation,
    Parameter,
    Scalar,
    Shape,
)
from alyx.records.limits import Limits
from alyx.schema.model import Schema

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SHARED_HEADER = "X-Request-ID"

Json = dict[str, Any]


def document(
    schema: Schema, limits: Limits, *, title: str = "Alyx", version: str | None = None, description: str = ""
) -> tuple[bytes, str]:
    """The OpenAPI document of a schema as JSON, and its strong ETag.

    limits: those that the record API keeps. title, version, description: of the `docs` settings.
    """
    body = json.dumps(render(describe.api(schema, limits, title=title, version=version, description=description)))
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def render(api: Api) -> Json:
    """The OpenAPI document as a value. What several operations share stands once, under `components`."""
    paths: dict[str, Json] = {}
    errors: dict[Answer, str] = {}
    shared = _shared_parameters(api)
    for operation in api.operations:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, errors, shared)
    return {
        "openapi": "3.1.1",
        "info": {"title": api.title, "version": api.version, "description": api.description},
        "jsonSchemaDialect": _DIALECT,
        "servers": [{"url": "/"}],
        "security": [{}, {"bearer": []}],
        "tags": [{"name": group.name, "description": group.description} for group in api.groups],
        "paths": paths,
        "components": {
            "schemas": {name: _object(value) for name, value in api.objects.items()},
            "parameters": {name: _parameter(parameter) for parameter, name in shared.items()},
            "responses": {name: _answer(answer) for answer, name in errors.items()},
            "headers": {
                name: {"description": text, "schema": {"type": "integer"} if name == "Retry-After" else {"type": "string"}}
                for name, text in api.headers.items()
            },
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "Without a token the caller is anonymous. A token that is not valid is refused with 401.",
                }
            },
        },
    }


def _operation(operation: Operation, errors: dict[Answer, str], shared: dict[Parameter, str]) -> Json:
    found: Json = {
        "operationId": operation.name,
        "tags": [operation.group],
        "summary": operation.summary,
    }
    if operation.description:
        found["description"] = operation.description
    if not operation.token:
        found["security"] = []
    if operation.parameters:
        found["parameters"] = [
            {"$ref": f"#/components/parameters/{shared[parameter]}"} if parameter in shared else _parameter(parameter)
            for parameter in operation.parameters
        ]
    if operation.body:
        found["requestBody"] = {"required": True, "content": _content(operation.body)}
    found["responses"] = {str(answer.status): _shared(answer, errors) for answer in operation.answers}
    return found


def _shared_parameters(api: Api) -> dict[Parameter, str]:
    """The parameters that stand in several operations, each with a name of its own."""
    counted = Counter(parameter for operation in api.operations for parameter in operation.parameters)
    names: dict[str, int] = Counter()
    found: dict[Parameter, str] = {}
    for parameter, times in counted.items():
        if times > 1:
            names[parameter.name] += 1
            number = names[parameter.name]
            found[parameter] = parameter.name if number == 1 else f"{parameter.name}.{number}"
    return found


def _shared(answer: Answer, errors: dict[Answer, str]) -> Json:
    """An error as a reference to its one place, which is made at its first use; every other answer in full."""
    if not answer.error:
        return _answer(answer)
    if answer not in errors:
        same = sum(1 for known in errors if known.status == answer.status)
        errors[answer] = f"Error{answer.status}" + (f".{same + 1}" if same else "")
    return {"$ref": f"#/components/responses/{errors[answer]}"}


def _parameter(parameter: Parameter) -> Json:
    found: Json = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "required": parameter.required,
        "schema": schema(parameter.shape),
    }
    if parameter.repeatable:
        found |= {"style": "form", "explode": True}
    if parameter.example is not None:
        found["example"] = list(parameter.example) if isinstance(parameter.example, tuple) else parameter.example
    return found


def _answer(answer: Answer) -> Json:
    found: Json = {
        "description": answer.description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in (*answer.headers, _SHARED_HEADER)},
    }
    if answer.error:
        found["content"] = {"application/json": {"schema": _error(answer)}}
    elif answer.body:
        found["content"] = _content(answer.body) | (_content(answer.instead) if answer.instead else {})
    return found


def _error(answer: Answer) -> Json:
    """The envelope, with `code` narrowed to those of this status."""
    envelope = {"$ref": "#/components/schemas/Error"}
    if not answer.codes:
        return envelope
    return {"allOf": [envelope, {"properties": {"code": {"enum": list(answer.codes)}}}]}


def _content(body: Body) -> Json:
    media: Json = {"schema": schema(body.shape)}
    if body.example is not None:
        media["example"] = body.example
    return {body.media: media}


def schema(shape: Shape) -> Json:
    """A shape as JSON Schema 2020-12."""
    match shape:
        case Scalar():
            return _scalar(shape)
        case Many(item, most, distinct, least):
            counts = {"minItems": least, "maxItems": most, "uniqueItems": distinct or None}
            return {"type": "array", "items": schema(item)} | {name: value for name, value in counts.items() if value is not None}
        case Named(name):
            return {"$ref": f"#/components/schemas/{name}"}
        case OneOf(shapes):
            return {"anyOf": [schema(item) for item in shapes]}
        case Object():
            return _object(shape)
        case Null():
            return {"type": "null"}
        case Anything():
            return {}


def _scalar(shape: Scalar) -> Json:
    found: Json = {"type": shape.kind}
    limits = {
        "format": shape.format,
        "enum": list(shape.values) or None,
        "minLength": shape.min_length,
        "maxLength": shape.max_length,
        "minimum": shape.minimum,
        "maximum": shape.maximum,
        "pattern": shape.pattern,
        "contentEncoding": shape.encoding,
        "contentMediaType": shape.media,
    }
    return found | {name: value for name, value in limits.items() if value is not None}


def _object(value: Object) -> Json:
    found: Json = {"type": "object"}
    if value.description:
        found["description"] = value.description
    found["properties"] = {member.name: _member(member) for member in value.members}
    required = [member.name for member in value.members if member.always]
    if required:
        found["required"] = required
    if value.closed:
        found["additionalProperties"] = False
    if value.example is not None:
        found["examples"] = [value.example]
    return found


def _member(member: Member) -> Json:
    found = schema(member.shape)
    if member.nullable and found:
        found = _nullable(found)
    notes = {"description": member.description or None, "default": member.default}
    return found | {name: text for name, text in notes.items() if text is not None}


def _nullable(found: Json) -> Json:
    kind = found.get("type")
    if not isinstance(kind, str):
        return {"anyOf": [*found.get("anyOf", [found]), {"type": "null"}]}
    values = {"enum": [*found["enum"], None]} if "enum" in found else {}
    return found | {"type": [kind, "null"]} | values
