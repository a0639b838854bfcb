"""Lists in the documents are complete: dependencies, make targets, folders."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _names(requirements: list[str]) -> set[str]:
    return {re.match(r"[A-Za-z0-9_.-]+", requirement)[0] for requirement in requirements}  # type: ignore[index]


def _packages(title: str) -> set[str]:
    text = (ROOT / "docs" / "dependencies.md").read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    return {word for row in re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE) for word in re.findall(r"`([^`]+)`", row)}


def test_every_dependency_of_the_program_says_what_it_is_for() -> None:
    assert _packages("At run time") == _names(PROJECT["dependencies"])


def test_every_dependency_of_development_says_what_it_is_for() -> None:
    assert _packages("For development") == _names(PROJECT["optional-dependencies"]["dev"])


def test_every_make_target_that_contributing_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)`", (ROOT / "CONTRIBUTING.md").read_text()))
    assert named <= targets
    assert targets - named <= {"clean"}


def test_the_code_map_names_every_folder_and_no_other() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"^\| `alyx/([a-z]+)(?:/|\.py)` \|", text, re.MULTILINE))
    folders = {path.name for path in (ROOT / "alyx").iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert named == folders | {"config"}


@pytest.mark.parametrize(
    "file", ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
)
def test_every_link_to_a_file_leads_to_one(file: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / file).read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", text):
        assert ((ROOT / file).parent / target).exists(), target


@pytest.mark.parametrize("file", ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_every_function_that_the_code_map_names_exists(file: str) -> None:
    """Names of the form `part.module.function` in a document are looked up in the code."""
    for part, module, name in re.findall(r"`([a-z]+(?:/[a-z]+)*)/([a-z_]+)\.py:([A-Za-z_.]+)`", (ROOT / file).read_text()):
        source = (ROOT / "alyx" / part / f"{module}.py").read_text()
        last = name.rsplit(".", 1)[-1]
        assert re.search(rf"^\s*(?:async )?(?:def|class) {last}\b", source, re.MULTILINE), f"{part}/{module}.py: {name}"
