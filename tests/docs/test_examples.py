"""The documents' shell blocks, run as they are printed against a server that was really started; their other examples, read."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from alyx.schema import load
from tests.docs.conftest import ROOT, Project, Step, steps

README = (ROOT / "README.md").read_text()
API = (ROOT / "docs" / "api.md").read_text()
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def first_five_minutes() -> list[Step]:
    """The README's shell blocks."""
    return steps(README.split("## The first five minutes")[1].split("\n## ")[0])


@pytest.mark.slow
@needs_curl
def test_the_first_five_minutes_and_the_examples_of_the_api_print_what_they_say(project: Project) -> None:
    project.run([*first_five_minutes(), *steps(API)])


def test_every_shell_block_shows_an_answer() -> None:
    found = [*first_five_minutes(), *steps(API)]
    assert len(found) >= 12
    assert all(step.printed for step in found[1:])


def test_the_schema_that_the_readme_shows_is_one() -> None:
    shown = re.findall(r"^```yaml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert len(shown) == 1
    users = "  users:\n    fields:\n      id: { type: uuid, primary: true, default: auto }\n"
    assert set(load.loads(f"version: 1\n{shown[0]}{users}").collections) == {"posts", "users"}


@pytest.mark.parametrize("text", re.findall(r"^```json\n(.*?)^```$", API, re.MULTILINE | re.DOTALL))
def test_every_json_example_of_the_api_is_json(text: str) -> None:
    for value in [text] if text.startswith("{\n") else text.splitlines():
        json.loads(value)
