"""RE2 patterns are handed to clients only where ECMA-262 means the same."""

from __future__ import annotations

import pytest

from alyx.codegen import patterns


@pytest.mark.parametrize(
    "pattern",
    ["^[a-z0-9-]+$", r"^\d{3}-\d{4}$", "a|b", "(?:ab)+?", r"\$\.\*", r"[\w\-]{2,}", "", r"^a\/b$", "x{2,3}?"],
)
def test_a_pattern_that_means_the_same_is_kept(pattern: str) -> None:
    assert patterns.ecma(pattern) == pattern


def test_the_dot_leaves_out_the_newline_alone() -> None:
    assert patterns.ecma("^.+$") == "^[^\\n]+$"


@pytest.mark.parametrize(
    "pattern",
    [
        *("(?i)a", "(?P<n>a)", r"\pL", r"\p{Greek}", "[[:alpha:]]", r"\Aa\z", r"\Q.\E", r"\s", r"[\s]", r"\x{41}", r"\a", r"\C"),
        *("[]a]", "[^]a]", "a{", "a}", "]", "a++", "*", "(", ")", "[a", "\\", r"\-", "[\\", "a{,3}", "a{x}"),
    ],
)
def test_a_pattern_that_means_something_else_is_left_out(pattern: str) -> None:
    assert patterns.ecma(pattern) is None
