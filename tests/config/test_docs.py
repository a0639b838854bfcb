"""docs/configuration.md names every key with its type, default and variable, and nothing else; its examples load."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alyx import config

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
ROWS = {
    match[1]: [cell.strip() for cell in match[2].split("|")]
    for match in re.finditer(r"^\| `([a-z_.<>]+)` \|(.*)\|$", PAGE, re.MULTILINE)
}


def written_default(key):
    if key.default is None:
        return "not set"
    if isinstance(key.default, bool):
        return f"`{str(key.default).lower()}`"
    if isinstance(key.default, list):
        return f"`{', '.join(key.default)}`" if key.default else "none"
    return f"`{key.default}`"


def test_every_key_stands_in_the_page_with_type_default_and_variable():
    for key in config.KEYS:
        kind, default, variable, text = ROWS[key.name]
        assert (kind, default, variable) == (key.kind.name, written_default(key), f"`{key.env}`")
        assert text.endswith("*Later.*") == key.later, key.name


def test_the_page_names_no_key_that_does_not_exist():
    known = {key.name for key in config.KEYS} | {f"auth.oauth.<name>.{key}" for key in config.OAUTH_KEYS}
    assert set(ROWS) == known


@pytest.mark.parametrize("example", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_the_examples_load(example, tmp_path):
    (tmp_path / "alyx.yaml").write_text(example)
    found = config.load(tmp_path / "alyx.yaml", env={})
    assert found.given
