"""The objects of the API that belong to no collection: errors, batches, explanations, health.

Pure; called by `describe`. Their names begin with a capital, so none can meet a collection's.
"""

from __future__ import annotations

from alyx.codegen import codes
from alyx.codegen.shapes import Anything, Many, Member, Named, Object, OneOf, Scalar
from alyx.records.limits import Limits
from alyx.schema.model import JUDGED, Schema

_TEXT = Scalar("string")


def shared(schema: Schema, limits: Limits) -> dict[str, Object]:
    """The objects that belong to no collection; their names begin with a capital, so none can meet a collection's."""
    detail = Object(
        (
            Member("field", _TEXT, True, description="The field, with an index before it in a list: `0.title`."),
            Member("code", Scalar("string", values=tuple(codes.DETAILS)), True, description=_table(codes.DETAILS)),
            Member("message", _TEXT, True),
        ),
        "One fault of a body.",
    )
    error = Object(
        (
            Member("error", _TEXT, True, description="What is wrong, in a sentence."),
            Member("code", Scalar("string", values=tuple(codes.ERRORS)), True),
            Member("details", Many(Named("Fault"), most=100)),
            Member("hint", _TEXT, description="What would mend it."),
            Member("operation", Scalar("integer", minimum=0), description="Which operation of a batch failed, counting from 0."),
            Member("request_id", _TEXT, True),
            Member("timestamp", Scalar("string", "date-time"), True),
        ),
        "Every error has this form.",
        example={
            "error": "The body has 1 fault.",
            "code": "VALIDATION_ERROR",
            "details": [{"field": "title", "code": "required", "message": "is required"}],
            "request_id": "5f2c8a90d1e34b7f6a8c9d0e",
            "timestamp": "2026-03-01T08:00:00.123456Z",
        },
    )
    ticket = Object((Member("ticket", _TEXT, True), Member("expires_in", Scalar("integer"), True, description="Seconds.")))
    return {"Error": error, "Fault": detail, **_batches(schema, limits), **_explanations(schema), "Ticket": ticket, **_states()}


def _table(words: dict[str, str]) -> str:
    return "\n".join(f"- `{word}`: {text}" for word, text in words.items())


def _batches(schema: Schema, limits: Limits) -> dict[str, Object]:
    operation = Object(
        (
            Member("method", Scalar("string", values=("POST", "PATCH", "PUT", "DELETE")), True),
            Member("collection", Scalar("string", values=tuple(schema.collections)), True),
            Member("id", _TEXT, description="The record's key; not with POST."),
            Member("data", Anything(), description="The body that the single request would have."),
        ),
        closed=True,
    )
    first = next(iter(schema.collections))
    example = {"operations": [{"method": "DELETE", "collection": first, "id": "018f2b6e-7c1a-7c52-9d0e-3f5b8a1c4d2e"}]}
    result = Object(
        (
            Member("status", Scalar("integer"), True),
            Member("data", Anything(), description="What the single request would answer."),
        )
    )
    return {
        "Batch": Object((Member("operations", Many(operation, least=1, most=limits.batch), True),), closed=True, example=example),
        "BatchResults": Object((Member("results", Many(result), True),), "In the order of the operations."),
    }


def _explanations(schema: Schema) -> dict[str, Object]:
    request = Object(
        (Member("method", _TEXT), Member("ip", _TEXT), Member("time", Scalar("string", "date-time")), Member("body", Anything())),
        closed=True,
    )
    caller = Object(
        (
            Member("id", _TEXT, nullable=True),
            Member("email", _TEXT, nullable=True),
            Member("role", _TEXT, nullable=True),
            Member("verified", Scalar("boolean")),
            Member("claims", Anything()),
        ),
        closed=True,
    )
    operations = Scalar("string", values=JUDGED)
    first = next(iter(schema.collections))
    return {
        "Explain": Object(
            (
                Member("collection", Scalar("string", values=tuple(schema.collections)), True),
                Member("operation", operations, True),
                Member("auth", caller, description="The caller; anonymous when absent."),
                Member("id", OneOf((_TEXT, Scalar("integer", "int64"))), description="The stored record; not with create."),
                Member("data", Anything(), description="The body of a create or an update."),
                Member("request", request, description="What the rule sees as `request`."),
            ),
            closed=True,
            example={
                "collection": first,
                "operation": "read",
                "auth": {"id": "018f2b6e-7c1a-7c52-9d0e-3f5b8a1c4d2e", "role": "user"},
                "id": "018f2b6e-7c1a-7c52-9d0e-3f5b8a1c4d2f",
            },
        ),
        "Explanation": Object(
            (
                Member("collection", _TEXT, True),
                Member("operation", operations, True),
                Member("allowed", Scalar("boolean"), True),
                Member("rules", Many(Named("Judgement")), True, description="Up to the first that refuses."),
            )
        ),
        "Judgement": Object(
            (
                Member("operation", _TEXT, True),
                Member("rule", _TEXT, True, description="As written."),
                Member("missing", Scalar("boolean"), True, description="There is none, so it is that of admins."),
                Member("allowed", Scalar("boolean"), True),
                Member("because", Named("Condition"), True),
            )
        ),
        "Condition": Object(
            (
                Member("text", _TEXT, True, description="As written."),
                Member("outcome", Scalar("string", values=("true", "false", "error")), True),
                Member("decided", Scalar("boolean"), True, description="Whether the whole came out as it did because of it."),
                Member("reason", _TEXT, description="The values that it saw."),
                Member("parts", Many(Named("Condition"))),
            )
        ),
    }


def _states() -> dict[str, Object]:
    return {
        "Status": Object(
            (Member("status", _TEXT, True), Member("reason", _TEXT, description="Why it is not ready, if it can tell."))
        ),
        "Health": Object(
            (
                Member("status", Scalar("string"), True, description="`healthy`, or what it is instead."),
                Member("version", _TEXT, True),
                Member("uptime", Scalar("number"), True, description="Seconds."),
                Member("components", Anything(), True, description="Each part with its `status`."),
            )
        ),
    }
