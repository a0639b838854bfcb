"""Google's conformance cases: the right value, or refused at the check - never a wrong value."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cel_expr_python import cel

from alyx.rules import check, parser, python, values
from alyx.rules.literals import CheckError
from alyx.rules.syntax import CelSyntaxError, UInt

CASES = json.loads((Path(__file__).parent / "data" / "cel_conformance.json").read_text())
FLOOR = 754
"""How many cases came out right when this was last raised; it never goes down."""
ORACLE = cel.NewEnv()


def wanted(value: Any) -> Any:
    """A value of the data file as rules hold it at run time."""
    if isinstance(value, list):
        return [wanted(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, text),) = value.items()
    makers = {"int": int, "uint": UInt, "double": float, "bytes": bytes.fromhex, "type": values.TypeName}
    if kind == "map":
        return {values.key_of(wanted(key)): wanted(item) for key, item in text}
    return makers[kind](text)


def same(left: Any, right: Any) -> bool:
    """Equal in value and kind, all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return left == right


def judged(case: dict[str, Any]) -> str:
    """right, refused or wrong."""
    fails = "error" in case["expect"]
    try:
        typed = check.check(parser.parse(case["expr"]), check.Scope(loose=True))
    except (CelSyntaxError, CheckError):
        return "right" if fails else "refused"
    run = python.verdict(typed) if typed.type.kind == "bool" else python.value(typed)
    try:
        found = run({}, {}, {})
        failed = found is None and typed.type.kind == "bool"
    except Exception:
        failed = True
    if fails or failed:
        return "right" if fails and failed else "wrong"
    return "right" if same(found, wanted(case["expect"]["value"])) else "wrong"


def passes_at_google(case: dict[str, Any]) -> bool:
    """Whether Google's implementation gives what the case expects."""
    fails = "error" in case["expect"]
    try:
        result = ORACLE.compile(case["expr"], disable_check=True).eval(data={})
    except RuntimeError:
        return fails
    if result.type() == cel.Type.ERROR:
        return fails
    found, value = result.plain_value(), wanted(case["expect"].get("value"))
    if fails:
        return False
    if isinstance(found, bytearray | bytes):
        return bytes(found) == value
    return True


@pytest.mark.parametrize("file", sorted({case["file"] for case in CASES}))
def test_a_conformance_case_gives_the_right_value_or_is_refused(file: str) -> None:
    cases = [case for case in CASES if case["file"] == file]
    wrong = [case["expr"] for case in cases if judged(case) == "wrong" and passes_at_google(case)]
    assert wrong == []


def test_no_fewer_conformance_cases_are_right_than_before() -> None:
    counts = Counter(judged(case) for case in CASES)
    print(dict(counts))
    assert counts["right"] >= FLOOR
    assert counts["refused"] <= len(CASES) - FLOOR
