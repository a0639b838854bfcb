"""Which part of a rule decided."""

from __future__ import annotations

from typing import Any

from alyx.database import tables
from alyx.database.work import Work
from alyx.rules.explain import Step, explain
from alyx.schema.model import Type
from tests.rules.conftest import collection, read_rule, schema

POSTS = collection(
    "posts",
    status=Type.STRING,
    owner={"type": Type.STRING, "nullable": True},
    secret={"type": Type.STRING, "internal": True},
    n={"type": Type.INT, "nullable": True},
)
MADE = schema(POSTS, collection("members", user=Type.STRING))
METADATA = tables.build(MADE)
DOC = {"id": "1", "status": "draft", "owner": "a", "secret": "hush", "n": None}


def done(work: Work[Step], answers: list[bool]) -> Step:
    """Run the work, answering each statement with a row or none."""
    try:
        next(work)
        while True:
            work.send([(1,)] if answers.pop(0) else [])
    except StopIteration as stop:
        found: Step = stop.value
        return found


def explained(rule: str, auth: dict[str, Any], answers: list[bool] | None = None) -> Step:
    return done(explain(read_rule(MADE, METADATA, rule, "posts"), auth, DOC, {"ip": "::1"}), answers or [])


def test_every_condition_is_shown_with_its_outcome_and_what_it_saw() -> None:
    step = explained("doc.status == 'published' || auth.id == doc.owner", {"id": "a"})
    assert step.outcome == "true"
    assert [(part.text, part.outcome, part.reason, part.decided) for part in step.parts] == [
        ("doc.status == 'published'", "false", 'doc.status = "draft"', False),
        ("auth.id == doc.owner", "true", 'auth.id = "a", doc.owner = "a"', True),
    ]


def test_an_error_is_told_from_false() -> None:
    step = explained("auth.id == doc.owner && doc.n < 1", {})
    assert step.outcome == "error"
    assert [(part.outcome, part.reason) for part in step.parts] == [
        ("error", 'auth.id = null, doc.owner = "a"'),
        ("error", "doc.n = null"),
    ]


def test_internal_fields_are_named_and_not_shown() -> None:
    assert explained("doc.secret == 'x'", {}).reason == "doc.secret = (internal)"


def test_parts_that_look_elsewhere_are_asked_in_the_database() -> None:
    rule = "doc.status == 'draft' && collections.members.exists(m, m.user == auth.id)"
    step = explained(rule, {"id": "a"}, [False, True, False, True])
    assert (step.outcome, step.parts[1].outcome) == ("false", "false")
    assert (step.parts[0].decided, step.parts[1].decided) == (False, True)
    assert explained("collections.members.exists(m, m.user == auth.id)", {"id": "a"}, [True]).outcome == "true"
    assert explained("collections.members.exists(m, m.user == auth.id)", {}, [False, False]).outcome == "error"


def test_the_branch_that_was_taken_is_marked() -> None:
    step = explained("doc.status == 'draft' ? auth.id == doc.owner : true", {"id": "b"})
    assert [part.decided for part in step.parts] == [True, True, False]
    assert step.document()["parts"][1] == {
        "text": "auth.id == doc.owner",
        "outcome": "false",
        "decided": True,
        "reason": 'auth.id = "b", doc.owner = "a"',
    }
