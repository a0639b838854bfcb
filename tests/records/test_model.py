"""Random histories of writes, lists and restarts against a plain Python model: no divergence."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, multiple, rule, run_state_machine_as_test

from tests.backend import Backend

SCHEMA = """
version: 1
collections:
  items:
    fields:
      id: { type: id, primary: true, default: auto }
      name: { type: string, maxLength: 20 }
      n: { type: int, nullable: true }
      x: { type: float, default: 1.5 }
      flag: { type: bool, default: false }
      kind: { type: select, select: { values: [a, b] }, default: a }
      j: { type: json, nullable: true }
      slug: { type: string, nullable: true, unique: true }
    indexes: [ { name: idx_items_kind, fields: [kind, n] } ]
    rules:
      create: "doc.name != 'forbidden'"
      read: "doc.kind == 'a' || doc.flag"
      update: "!(doc.name == 'frozen')"
      delete: "true"
"""

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("ab\u00e9\U0001f600", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("kq", min_size=1, max_size=2), inner, max_size=2),
    max_leaves=4,
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "name": st.sampled_from(["", "alpha", "b\u00e9ta", "\U0001f600", "\uff46", "forbidden", "frozen", "' OR 1=1 --"]),
    "n": st.none() | st.integers(-3, 3) | st.sampled_from([2**63 - 1, -(2**63)]),
    "x": st.floats(allow_nan=False, allow_infinity=False, width=64),
    "flag": st.booleans(),
    "kind": st.sampled_from(["a", "b"]),
    "j": JSON_VALUES,
    "slug": st.none() | st.sampled_from(["s1", "s2", "s3", "s4"]),
}
DEFAULTS = {"n": None, "x": 1.5, "flag": False, "kind": "a", "j": None, "slug": None}
BODIES = st.fixed_dictionaries({"name": FIELDS["name"]}, optional={k: v for k, v in FIELDS.items() if k != "name"})
PATCHES = st.fixed_dictionaries({}, optional=FIELDS)


class Model:
    """What the server should hold, and what it should answer."""

    def __init__(self) -> None:
        self.docs: dict[str, dict[str, Any]] = {}

    def readable(self, doc: dict[str, Any]) -> bool:
        return doc["kind"] == "a" or doc["flag"]

    def taken(self, key: str, slug: str | None) -> bool:
        return slug is not None and any(k != key and d["slug"] == slug for k, d in self.docs.items())

    def create(self, key: str, body: dict[str, Any]) -> int:
        if body["name"] == "forbidden":
            return 403
        if key in self.docs or self.taken(key, body.get("slug")):
            return 409
        self.docs[key] = {"id": key, **DEFAULTS, **body}
        return 201

    def change(self, key: str, changes: dict[str, Any]) -> int:
        doc = self.docs.get(key)
        if doc is None or not self.readable(doc):
            return 404
        if doc["name"] == "frozen":
            return 403
        new = {**doc, **changes}
        if new["name"] == "frozen":
            return 403
        if changes and self.taken(key, new["slug"]):
            return 409
        self.docs[key] = new
        return 200 if self.readable(new) else 204

    def delete(self, key: str) -> int:
        doc = self.docs.get(key)
        if doc is None or not self.readable(doc):
            return 404
        del self.docs[key]
        return 204


class Histories(RuleBasedStateMachine):
    """Every answer and every list agrees with the model."""

    keys = Bundle("keys")

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="alyx-model-"))
        self.backend = Backend(SCHEMA, self.folder)
        self.model = Model()
        self.made = 0

    def teardown(self) -> None:
        if hasattr(self, "backend"):
            self.agree("/items?sort=id&limit=1000", lambda doc: True, key=lambda doc: doc["id"])
            self.backend.close()
            shutil.rmtree(self.folder)

    def fresh(self) -> str:
        self.made += 1
        return f"{self.made:015d}"

    @rule(target=keys, body=BODIES)
    def create(self, body: dict[str, Any]) -> Any:
        key = self.fresh()
        answer = self.backend.post("/items", {"id": key, **body})
        assert answer.status == self.model.create(key, body), answer
        if answer.status == 201 and self.model.readable(self.model.docs[key]):
            assert answer.json() == self.model.docs[key]
        return key

    @rule(key=keys, body=BODIES)
    def create_again(self, key: str, body: dict[str, Any]) -> None:
        assert self.backend.post("/items", {"id": key, **body}).status == self.model.create(key, body)

    @rule(target=keys, bodies=st.lists(BODIES, min_size=1, max_size=3))
    def create_many(self, bodies: list[dict[str, Any]]) -> Any:
        keys = [self.fresh() for _ in bodies]
        before = dict(self.model.docs)
        status = 201
        for key, body in zip(keys, bodies, strict=True):
            status = self.model.create(key, body)
            if status != 201:
                break
        refused = [403 for body in bodies if body["name"] == "forbidden"]  # rules are judged before anything is inserted
        expected = refused[0] if refused else status
        if expected != 201:
            self.model.docs = before
        assert self.backend.post("/items", [{"id": k, **b} for k, b in zip(keys, bodies, strict=True)]).status == expected
        return multiple(*keys)

    @rule(key=keys, patch=PATCHES)
    def patch(self, key: str, patch: dict[str, Any]) -> None:
        answer = self.backend.patch(f"/items/{key}", patch)
        assert answer.status == self.model.change(key, patch), answer
        if answer.status == 200:
            assert answer.json() == self.model.docs[key]

    @rule(key=keys, body=BODIES)
    def put(self, key: str, body: dict[str, Any]) -> None:
        answer = self.backend.put(f"/items/{key}", body)
        assert answer.status == self.model.change(key, {**DEFAULTS, **body}), answer

    @rule(key=keys, amount=st.integers(-5, 5))
    def increment(self, key: str, amount: int) -> None:
        doc = self.model.docs.get(key)
        stored = (doc["n"] or 0) + amount if doc else 0
        overflows = bool(doc) and not -(2**63) <= stored < 2**63
        answer = self.backend.patch(f"/items/{key}", {"n": {"$inc": amount}})
        if overflows and doc is not None and self.model.readable(doc) and doc["name"] != "frozen":
            assert answer.status == 400
        else:
            assert answer.status == self.model.change(key, {"n": stored}), answer

    @rule(key=consumes(keys))
    def delete(self, key: str) -> None:
        assert self.backend.delete(f"/items/{key}").status == self.model.delete(key)

    @rule(operations=st.lists(st.tuples(keys, PATCHES | st.none()), min_size=1, max_size=4))
    def batch(self, operations: list[tuple[str, dict[str, Any] | None]]) -> None:
        before, statuses = dict(self.model.docs), []
        asked = []
        for key, patch in operations:
            asked.append(
                {"method": "DELETE", "collection": "items", "id": key}
                if patch is None
                else {"method": "PATCH", "collection": "items", "id": key, "data": patch}
            )
            if not statuses or statuses[-1] < 300:
                statuses.append(self.model.delete(key) if patch is None else self.model.change(key, patch))
        answer = self.backend.batch(asked)
        if statuses[-1] >= 300:
            self.model.docs = before
            assert (answer.status, answer.json()["operation"]) == (statuses[-1], len(statuses) - 1)
        else:
            assert [each["status"] for each in answer.json()["results"]] == statuses

    @rule(low=st.integers(-3, 3), size=st.integers(1, 3))
    def pages(self, low: int, size: int) -> None:
        wanted = [d for d in self.model.docs.values() if self.model.readable(d) and d["n"] is not None and d["n"] >= low]
        wanted.sort(key=lambda doc: (doc["n"], doc["id"]), reverse=True)
        found: list[Any] = []
        cursor = ""
        while True:
            page = self.backend.list(f"/items?filter=n:gte:{low}&sort=-n&limit={size}{cursor}")
            found += page["docs"]
            assert page["total"] == len(wanted)
            if "next_cursor" not in page:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert found == wanted

    @rule(kind=st.sampled_from(["a", "b"]))
    def filtered(self, kind: str) -> None:
        self.agree(f"/items?filter=kind:eq:{kind}&sort=name", lambda d: d["kind"] == kind, key=lambda d: (d["name"], d["id"]))

    @rule()
    def restart(self) -> None:
        self.backend.stop()
        self.backend.start()

    def agree(self, url: str, wanted: Any, key: Any) -> None:
        docs = [doc for doc in self.model.docs.values() if self.model.readable(doc) and wanted(doc)]
        found = self.backend.list(url)
        assert found["docs"] == sorted(docs, key=key)
        assert found["total"] == len(docs)


CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large]


@pytest.mark.slow
def test_fifty_random_histories_agree_with_the_model() -> None:
    run_state_machine_as_test(
        Histories,
        settings=settings(max_examples=50, stateful_step_count=30, deadline=None, suppress_health_check=CHECKS, derandomize=True),
    )


@pytest.mark.torture
def test_two_thousand_random_histories_agree_with_the_model() -> None:
    run_state_machine_as_test(
        Histories, settings=settings(max_examples=2000, stateful_step_count=30, deadline=None, suppress_health_check=CHECKS)
    )
