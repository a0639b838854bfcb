"""No file makes the loader fail in any other way than by a list of faults."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from alyx.base.errors import SourceError, SourceFault
from alyx.database import tables
from alyx.schema import fields, load, yaml
from alyx.schema.model import Type
from alyx.schema.values import Validator
from tests.schema.test_load import CONTRACT

ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1.5,
        2**70,
        "",
        "x",
        "id",
        "posts",
        "users.id",
        "now",
        "auto",
        "\0",
        "\ud83d\ude00",
        [],
        [None],
        ["a", "a"],
        {},
    ]
) | st.sampled_from(
    [str(item) for item in Type] + [{"collection": "posts"}, {"values": ["a"]}, {"enum": [1]}, {"preset": "full"}]
)
KEYS = st.sampled_from([*fields.KEYS, *fields.VALIDATE_KEYS, *load.COLLECTION_KEYS, *load.TOP_KEYS, "x"])


@st.composite
def schemas(draw: st.DrawFn) -> str:
    """The contract's example with a few keys set to something odd, anywhere."""
    document = yaml.read(CONTRACT, "schema.yaml").value
    for _ in range(draw(st.integers(1, 4))):
        at = document
        while isinstance(at, dict) and at and draw(st.integers(0, 5)):
            below = at[draw(st.sampled_from(list(at)))]
            if not isinstance(below, dict):
                break
            at = below
        at[draw(KEYS | st.sampled_from(list(at) or ["x"]))] = copy.deepcopy(draw(ODD))
    return json.dumps(document)


def refusal(call: Callable[..., Any], *arguments: str) -> list[SourceFault] | None:
    """The faults that a call raises; None if it returns."""
    try:
        call(*arguments)
    except SourceError as error:
        return error.faults
    return None


def use(text: str) -> None:
    """Load a schema, and make of it what the layers above do at start."""
    schema = load.loads(text)
    tables.build(schema)
    for collection in schema.collections.values():
        Validator(collection)


@settings(max_examples=250, deadline=None, derandomize=True)
@given(schemas())
def test_a_schema_works_or_every_fault_has_a_line_and_a_message(text: str) -> None:
    faults = refusal(use, text)
    assert faults is None or faults
    assert all(fault.message and fault.line == 1 for fault in faults or [])


@settings(max_examples=250, deadline=None, derandomize=True)
@given(st.text(st.sampled_from("ab:-?[]{},#&*!|>'\"%@` \n\t0~<"), max_size=30))
def test_any_text_is_read_or_refused_as_yaml(text: str) -> None:
    faults = refusal(yaml.read, text, "f.yaml")
    assert faults is None or faults
