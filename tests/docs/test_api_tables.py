"""docs/api.md names every parameter, operator, code and header that the code knows, and none that it does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alyx.codegen import codes
from alyx.http import settings
from alyx.records import query

TEXT = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


def section(title: str) -> str:
    """The text under a heading, up to the next one of any level."""
    found = re.search(rf"^#+ {title}\n(.*?)(?=^#+ |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def first_cells(text: str, column: int = 0) -> set[str]:
    """The words in backticks of one column of the section's tables."""
    cells = [row.split("|")[column + 1] for row in text.splitlines() if row.startswith("|")]
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


def test_every_parameter_of_a_list_is_in_the_table_and_no_other() -> None:
    assert first_cells(section("Lists")) == set(query.PARAMETERS)


def test_every_operator_is_in_the_table_and_no_other() -> None:
    assert first_cells(section("filter")) == set(query.OPERATORS)


def test_every_code_is_in_the_table_with_its_status() -> None:
    rows = re.findall(r"^\| (\d{3}) \| `([A-Z_]+)`", section("Errors"), re.MULTILINE)
    assert {name: int(found) for found, name in rows} == {name: found for name, (found, _) in codes.ERRORS.items()}


def test_every_code_of_a_detail_is_in_the_table() -> None:
    words = {word for word in first_cells(section("Errors")) if word.islower() and word != "code"}
    assert words == set(codes.DETAILS)


def test_every_header_that_a_browser_may_send_is_in_the_table() -> None:
    known = {word.lower() for word in first_cells(section("Headers"))}
    assert {name for name in settings.REQUEST_HEADERS if name not in ("content-type", "last-event-id")} <= known


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((#[^)]+)\)", TEXT))))
def test_every_link_inside_the_page_leads_somewhere(target: str) -> None:
    headings = {"#" + title.lower().replace(" ", "-") for title in re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)}
    assert target in headings
