"""Promises of /_alyx/client.js: those of client.test.mjs, and that its order is the server's."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.backend import Backend

pytestmark = pytest.mark.slow

SCHEMA = """
version: 1
collections:
  things:
    fields:
      id:    { type: string, primary: true }
      text:  { type: string, nullable: true }
      n:     { type: int, nullable: true }
      f:     { type: float, nullable: true }
      price: { type: decimal, scale: 2, nullable: true }
      flag:  { type: bool, nullable: true }
      at:    { type: timestamp, nullable: true }
      day:   { type: date, nullable: true }
      kind:  { type: select, nullable: true, select: { values: [b, a, c] } }
      tags:  { type: select, nullable: true, select: { values: [b, a, c], maxSelect: 3 } }
      meta:  { type: json, nullable: true }
    rules: { create: "true", read: "true" }
"""
TEXTS = ["", "a", "A", "ab", "é", "é", "ß", "\ue000", "ｆ", "\ufffd", "😀", "😁", "\U0010ffff", "a😀", "aｆ", "10", "9"]
VALUES: dict[str, list[Any]] = {
    "text": TEXTS,
    "n": [0, 1, -1, 9, 10, 2**53 - 1, -(2**53) + 1],
    "f": [0.0, -0.5, 0.1, 1e300, 3.0, 9.5, 10.5, 5e-324],
    "price": ["0.00", "9.50", "10.50", "-1.00", "90071992547409.93", "90071992547409.92", "-10.00"],
    "flag": [True, False],
    "at": ["2026-03-01T08:00:00.123456Z", "2026-03-01T08:00:00Z", "1999-12-31T23:59:59.999999+02:00"],
    "day": ["2026-03-01", "1999-12-31"],
    "kind": ["a", "b", "c"],
    "tags": [["a"], ["b", "a"], ["a", "b"], []],
    "meta": [{}, {"k": None}, {"k": 1}, {"k": 2.5}, {"k": "1"}, {"k": "😀"}, {"k": "ｆ"}, {"k": True}, {"k": False}, {"k": -3}],
}
ORDER = """
import { pathToFileURL } from "node:url";
const { comparator } = await import(pathToFileURL(process.env.ALYX_CLIENT));
let text = "";
for await (const part of process.stdin) text += part;
const { docs, sorts } = JSON.parse(text);
const ids = (sort) => [...docs].sort(comparator(sort, { decimals: ["price"] })).map((doc) => doc.id);
console.log(JSON.stringify(Object.fromEntries(sorts.map((sort) => [sort, ids(sort)]))));
"""


def test_the_client_keeps_its_promises(node: Callable[..., str]) -> None:
    printed = node("--test", "--test-reporter=tap", Path(__file__).with_name("client.test.mjs"))
    assert int(re.search(r"^# pass (\d+)$", printed, re.MULTILINE)[1]) > 25  # type: ignore[index]


def test_the_client_orders_documents_as_the_server_does(
    node: Callable[..., str], backend: Callable[[str], Backend], tmp_path: Path
) -> None:
    dice = random.Random(7)
    api = backend(SCHEMA)
    joined = dict.fromkeys(first + second for first, second in itertools.product(TEXTS[1:], TEXTS))
    identities = dice.sample(list(joined), 120)
    docs = [
        {"id": identity} | {name: dice.choice(values) for name, values in VALUES.items() if dice.random() < 0.8}
        for identity in identities
    ]
    assert api.post("/things", docs).status == 201
    names = [*(name for name in VALUES if name != "meta"), "meta.k"]
    pairs = [f"{a},-{b}" for a, b in zip(names, dice.sample(names, len(names)), strict=True) if a != b]
    sorts = ["", "-id", *names, *(f"-{name}" for name in names), *pairs]
    stored = api.get("/things?limit=1000").json()["docs"]
    dice.shuffle(stored)
    script = tmp_path / "order.mjs"
    script.write_text(ORDER)
    found = json.loads(node(script, stdin=json.dumps({"docs": stored, "sorts": sorts})))
    for sort in sorts:
        expected = [doc["id"] for doc in api.get(f"/things?limit=1000&fields=id&sort={sort}").json()["docs"]]
        assert found[sort] == expected, sort
