"""The nesting of a body is judged exactly, before any parser recurses into it, and in time that its length bounds."""

from __future__ import annotations

import random
from time import perf_counter

import pytest

from alyx.base import json


def nested(depth: int) -> str:
    """A value that is `depth` levels deep, with brackets in its texts."""
    text = '"[[{{"'
    for level in range(depth):
        text = f'[1, {text}, "}}]"]' if level % 2 else '{"a]\\"[": ' + text + ', "b": [], "c": {}}'
    return text


@pytest.mark.parametrize("most", [1, 2, 5, 32])
def test_as_deep_as_allowed_is_read_and_one_level_more_is_refused(most: int) -> None:
    json.parse(b"[" * most + b"]" * most, max_depth=most)
    json.parse(b'{"a":' * most + b"1" + b"}" * most, max_depth=most)
    for brackets in (b"[" * 40 + b"]" * 40, b"[" * (most + 1) + b"1" + b"]" * (most + 1) + b"[]" * 40):
        with pytest.raises(json.InvalidJSON, match="deeper"):
            json.parse(brackets, max_depth=most)


def test_random_nestings_are_judged_like_a_reader_that_counts() -> None:
    chance = random.Random(7)
    for _ in range(200):
        text = "[" + ",".join(nested(chance.randint(0, 12)) for _ in range(3)) + "," + "[]," * 40 + "1]"
        real = text_depth(text)
        for most in (real - 1, real, real + 1):
            if most < 1:
                continue
            if real > most:
                with pytest.raises(json.InvalidJSON, match="deeper"):
                    json.parse(text.encode(), max_depth=most)
            else:
                json.parse(text.encode(), max_depth=most)


def text_depth(text: str) -> int:
    """The slow and obvious way."""
    depth = deepest = 0
    inside = escaped = False
    for letter in text:
        if inside:
            inside = letter != '"' or escaped
            escaped = letter == "\\" and not escaped
        elif letter == '"':
            inside = True
        elif letter in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in "]}":
            depth -= 1
    return deepest


@pytest.mark.parametrize(
    "text",
    [
        "[" * 5_000_000,
        "[]" * 2_500_000,
        "[}" * 2_500_000,
        "]" * 5_000_000,
        ("[" * 32 + "]" * 32) * 80_000,
        '"' * 5_000_001,
        '"\\' * 2_000_000,
    ],
    ids=["open", "pairs", "mismatched", "closed", "32 levels", "quotes", "escapes"],
)
def test_five_megabytes_of_brackets_are_refused_in_short_time(text: str) -> None:
    started = perf_counter()
    with pytest.raises(json.InvalidJSON):
        json.parse(text.encode())
    assert perf_counter() - started < 5
