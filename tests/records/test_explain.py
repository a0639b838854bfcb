"""`POST /api/admin/rules/explain`: which rule decided, and which part of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.backend import Backend

SCHEMA = """
version: 1
collections:
  posts:
    fields:
      id: { type: id, primary: true, default: auto }
      status: { type: string, default: draft }
      owner: { type: string, nullable: true }
      note: { type: string, internal: true, default: secret }
    rules:
      create: "auth.id == doc.owner"
      read: "doc.status == 'published' || auth.id == doc.owner"
      update: "auth.id == doc.owner && doc.note != 'x'"
      delete: "collections.posts.exists(p, p.owner == auth.id && p.id == doc.id)"
"""
ADMIN = {"as_user": "root", "role": "admin"}


@pytest.fixture
def api(backend: Any) -> Backend:
    made: Backend = backend(SCHEMA)
    assert made.post("/posts", {"id": "post00000000001", "owner": "anna"}, as_user="anna").status == 201
    return made


def ask(api: Backend, **question: Any) -> Any:
    answer = api.call("POST", "/api/admin/rules/explain", {"collection": "posts", **question}, absolute=True, **ADMIN)
    assert answer.status == 200, answer
    return answer.json()


def test_a_refused_read_names_the_condition_that_decided(api: Backend) -> None:
    said = ask(api, operation="read", id="post00000000001", auth={"id": "ben"})
    because = said["rules"][0]["because"]
    assert said["allowed"] is False
    assert [(part["text"], part["outcome"]) for part in because["parts"]] == [
        ("doc.status == 'published'", "false"),
        ("auth.id == doc.owner", "false"),
    ]
    assert '"ben"' in because["parts"][1]["reason"]


def test_an_update_is_judged_on_the_record_as_stored_and_as_it_would_become(api: Backend) -> None:
    said = ask(api, operation="update", id="post00000000001", auth={"id": "anna"}, data={"owner": "ben"})
    assert [(each["operation"], each["allowed"]) for each in said["rules"]] == [
        ("read", True),
        ("update", True),
        ("update_check", False),
    ]


def test_a_rule_that_looks_elsewhere_is_asked_in_the_database(api: Backend) -> None:
    assert ask(api, operation="delete", id="post00000000001", auth={"id": "anna"})["allowed"] is True
    assert ask(api, operation="delete", id="post00000000001", auth={"id": "ben"})["allowed"] is False


def test_a_create_is_judged_on_the_record_to_be_and_an_anonymous_caller_is_an_error_that_denies(api: Backend) -> None:
    said = ask(api, operation="create", data={"owner": "anna"})
    assert said["rules"][0]["because"]["outcome"] == "error"
    assert ask(api, operation="create", data={"owner": "anna"}, auth={"id": "anna"})["allowed"] is True


def test_internal_fields_are_never_shown(api: Backend) -> None:
    said = api.call(
        "POST",
        "/api/admin/rules/explain",
        {"collection": "posts", "operation": "update", "id": "post00000000001", "auth": {"id": "anna"}, "data": {}},
        absolute=True,
        **ADMIN,
    )
    assert "secret" not in said.text


def test_only_an_admin_may_ask(api: Backend) -> None:
    question = {"collection": "posts", "operation": "read", "id": "post00000000001"}
    anonymous = api.call("POST", "/api/admin/rules/explain", question, absolute=True)
    user = api.call("POST", "/api/admin/rules/explain", question, absolute=True, as_user="anna")
    assert (anonymous.status, anonymous.json()["code"]) == (401, "UNAUTHORIZED")
    assert (user.status, user.json()["code"]) == (403, "FORBIDDEN")


def test_every_fault_of_a_question_is_named(api: Backend) -> None:
    answer = api.call("POST", "/api/admin/rules/explain", {"operation": "x", "auth": {"y": 1}, "z": 1}, absolute=True, **ADMIN)
    fields = {detail["field"] for detail in answer.json()["details"]}
    assert answer.status == 400
    assert fields == {"z", "operation", "collection", "auth.y"}


@pytest.mark.parametrize(
    "member",
    [
        {"auth": {"id": "\ud800"}},
        {"auth": {"id": "x", "claims": {"\0": 1}}},
        {"auth": {"id": 5}},
        {"auth": [1]},
        {"auth": {"verified": "yes"}},
        {"request": {"ip": "\ud800"}},
        {"request": {"time": "yesterday"}},
        {"request": {"place": "here"}},
        {"\ud800": 1},
        {"operation": ["read"]},
        {"id": 2**70},
    ],
)
def test_a_caller_or_request_that_cannot_be_is_refused(api: Backend, member: dict[str, Any]) -> None:
    question = {"collection": "posts", "operation": "read", "id": "post00000000001"} | member
    answer = api.call("POST", "/api/admin/rules/explain", json.dumps(question).encode(), absolute=True, **ADMIN)
    assert answer.status == 400, answer


def test_what_a_question_leaves_out_is_as_in_a_usual_request(backend: Any) -> None:
    api: Backend = backend("""
version: 1
collections:
  posts:
    fields: { id: { type: id, primary: true, default: auto }, at: { type: timestamp, default: now } }
    rules:
      create: "request.method == 'POST' && auth.claims.size() == 0 && !auth.verified && has(request.body.at)"
      read: "request.time == doc.at"
""")
    moment = "2026-03-01T08:00:00.000000Z"
    assert ask(api, operation="create", data={"at": moment}, auth={"id": "anna"})["allowed"] is True
    made = api.call("POST", "/posts", {"at": moment}, as_user="anna").json()
    # A time is read as any other, so that one with fewer decimals is the same moment.
    assert ask(api, operation="read", id=made["id"], request={"time": "2026-03-01T09:00:00+01:00"})["allowed"] is True
