"""The strict YAML reader: what scalars mean, where things stand, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from alyx.base.errors import SourceError
from alyx.schema import yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("no", "no"),
        ("Yes", "Yes"),
        ("y", "y"),
        ("010", "010"),
        ("12:30:45", "12:30:45"),
        ("2026-01-01", "2026-01-01"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("1e999", "1e999"),
        ("=", "="),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("0", 0),
        ("-7", -7),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("'true'", "true"),
        ('"12"', "12"),
        ("9" * 60, "9" * 60),
    ],
)
def test_a_scalar_means_what_yaml_1_2_says_and_else_is_the_text_itself(text: str, value: object) -> None:
    read = yaml.read(f"a: {text}\n", "f.yaml")["a"].value
    assert read == value
    assert type(read) is type(value)


def test_every_key_and_value_knows_its_line_and_column() -> None:
    root = yaml.read("# note\nversion: 1\na:\n  b:   [x, {c: y}]\n", "f.yaml")
    b = root["a"]["b"]
    assert (b.key_line, b.key_column, b.line, b.column) == (4, 3, 4, 8)
    assert (b.items[1]["c"].key_column, b.items[1]["c"].column) == (13, 16)
    assert root.value == {"version": 1, "a": {"b": ["x", {"c": "y"}]}}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: &x 1\nb: *x", 1, "anchors"),
        ("a: *x", 1, "aliases"),
        ("a: 1\n<<: 2", 2, "merge keys"),
        ("a: !!python/object:os.system x", 1, "tags"),
        ("a:\n\tb: 1", 2, "tab"),
        ("a: @b", 1, "put it in quotes"),
        ("a: b: c", 1, "mapping values are not allowed"),
        ("a: 1\n---\nb: 1", 2, "second"),
        ("a: 1\n? {x: y}\n: 2", 2, "a key must be text"),
        ("a: 1\n? \n: 2", 2, "a key is missing"),
        ("a: 1\nb: \x00", 2, "control characters"),
        ("[" * 5000, 1, "nested deeper"),
        ("{a: " * 5000, 1, "nested deeper"),
        ("a: '\n", 2, "unexpected end"),
        ("a: \ud800", 0, "UTF-8"),
        ("a: " + "x" * yaml.MAX_BYTES, 0, "larger than"),
    ],
)
def test_what_makes_a_file_ambiguous_or_unreadable_is_refused_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        yaml.read(text, "f.yaml")
    (fault,) = caught.value.faults
    assert (fault.file, fault.line) == ("f.yaml", line)
    assert message in fault.message


def test_all_duplicate_keys_are_reported_with_line_path_and_first_place() -> None:
    with pytest.raises(SourceError) as caught:
        yaml.read("a: 1\na: 2\nb: {c: 1, c: 2}\nd:\n  - {x: 1, x: 3}\n", "f.yaml")
    assert [str(fault) for fault in caught.value.faults] == [
        "f.yaml:2: a: the key `a` stands twice, first in line 1",
        "f.yaml:3: b.c: the key `c` stands twice, first in line 3",
        "f.yaml:5: d.0.x: the key `x` stands twice, first in line 5",
    ]


def test_an_empty_file_is_a_node_without_a_value() -> None:
    assert yaml.read("# nothing\n", "f.yaml").value is None


def test_a_missing_or_badly_encoded_file_is_a_fault_of_that_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        yaml.read_text(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xe4\n")
    with pytest.raises(SourceError, match=r"latin\.yaml:2: not valid UTF-8"):
        yaml.read_text(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("word", "near"),
    [("titel", "title"), ("max_length", "maxLength"), ("ondelete", "onDelete"), ("zzz", None), ("x" * 100_000, None)],
)
def test_the_nearest_known_word_is_found_whatever_its_style(word: str, near: str | None) -> None:
    assert yaml.nearest(word, ["title", "maxLength", "onDelete"]) == near
