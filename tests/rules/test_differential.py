"""SQL, generated Python and Google's CEL decide alike on random rules and records; no query dies."""

from __future__ import annotations

import pytest

from tests.rules.differential import Result, differ


def judged(count: int, seed: int) -> Result:
    result = differ(count, seed)
    print(f"{result.rules} rules, {len(result.refused)} refused, {result.decisions} decisions, {result.true} true")
    assert result.differences[:3] == []
    assert len(result.refused) < count * 0.08
    assert result.true > result.decisions * 0.1
    return result


def test_200_random_rules_mean_the_same_in_sql_in_python_and_at_google() -> None:
    judged(200, seed=1)


@pytest.mark.slow
def test_2000_random_rules_mean_the_same_in_sql_in_python_and_at_google() -> None:
    judged(2000, seed=2)


@pytest.mark.torture
def test_30000_random_rules_mean_the_same_in_sql_in_python_and_at_google() -> None:
    judged(30_000, seed=3)
