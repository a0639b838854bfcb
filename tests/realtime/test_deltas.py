"""A delta says in one step what several said one after another."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from alyx.realtime.deltas import Batch, Delta, Kind, Step, merge


def _applied(view: dict[int, str], steps: list[Step]) -> dict[int, str]:
    view = dict(view)
    for step in steps:
        if step.kind is Kind.DELETE:
            view.pop(step.key, None)
        else:
            view[step.key] = step.text
    return view


def _history(moves: list[tuple[int, int]], view: dict[int, str]) -> list[Step]:
    """Moves as steps that a server could send to somebody who has `view`."""
    present, steps = set(view), []
    for seq, (key, choice) in enumerate(moves, 1):
        kind = Kind.DELETE if key in present and choice == 0 else Kind.UPDATE if key in present else Kind.INSERT
        steps.append(Step(seq, kind, key, "" if kind is Kind.DELETE else f'{{"id":{key},"n":{seq}}}'))
        (present.discard if kind is Kind.DELETE else present.add)(key)
    return steps


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), max_size=30), st.integers(0, 30))
def test_folded_steps_lead_where_the_steps_lead(moves: list[tuple[int, int]], cut: int) -> None:
    view = {0: "a", 1: "b"}
    steps = _history(moves, view)
    whole = Delta(steps, "p")
    assert _applied(view, whole.steps) == _applied(view, steps)
    assert len({step.key for step in whole.steps}) == len(whole.steps)
    halves = [Delta(steps[:cut], "p"), Delta(steps[cut:], "q")]
    merged = merge(halves)
    assert _applied(view, merged.steps) == _applied(view, steps)
    assert merged.place == "q"
    seqs = [step.seq for step in whole.steps]
    assert seqs == sorted(seqs)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), max_size=30))
def test_a_delta_inserts_what_is_new_and_updates_what_is_known(moves: list[tuple[int, int]]) -> None:
    view = {0: "a", 1: "b"}
    for step in Delta(_history(moves, view), "p").steps:
        assert (step.key in view) is (step.kind in (Kind.UPDATE, Kind.DELETE))


def test_a_body_names_only_lists_that_hold_something() -> None:
    delta = Delta([Step(1, Kind.INSERT, 1, '{"id":1}'), Step(2, Kind.DELETE, "x", "")], "p")
    assert json.loads(delta.body) == {"inserts": [{"id": 1}], "deletes": ["x"]}


def test_what_came_and_went_is_not_told() -> None:
    assert not Delta([Step(1, Kind.INSERT, 1, "{}"), Step(2, Kind.DELETE, 1, "")], "p").steps


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=30), st.integers(0, 31))
def test_a_client_hears_of_a_batch_what_it_does_not_have(moves: list[tuple[int, int]], floor: int) -> None:
    view = {0: "a", 1: "b"}
    steps = _history(moves, view)
    known = _applied(view, [step for step in steps if step.seq <= floor])
    delta = Batch(steps, "p").for_floor(floor)
    assert _applied(known, delta.steps if delta is not None else []) == _applied(view, steps)


def test_a_step_for_those_in_between_is_for_nobody_else() -> None:
    batch = Batch([Step(5, Kind.INSERT, 1, "{}"), Step(7, Kind.UPDATE, 1, "{}", above=5)], "p")
    assert [batch.for_floor(floor) is not None for floor in (4, 5, 6, 7)] == [True, True, True, False]
    told = batch.for_floor(4)
    assert told is not None
    assert [step.kind for step in told.steps] == [Kind.INSERT]
    late = batch.for_floor(6)
    assert late is not None
    assert [step.kind for step in late.steps] == [Kind.UPDATE]


def test_steps_for_those_in_between_reach_them_in_a_batch_of_their_own() -> None:
    batch = Batch([Step(7, Kind.DELETE, 1, "", above=5)], "p")
    assert [batch.for_floor(floor) is not None for floor in (4, 5, 6, 7)] == [False, True, True, False]
