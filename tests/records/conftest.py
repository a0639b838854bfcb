"""Fixtures that more than one part of the tests uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.backend import Backend


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Callable[[str], Backend]]:
    """Makes a backend from the text of a schema; ends it with the test."""
    made: list[Backend] = []

    def make(schema: str) -> Backend:
        folder = tmp_path / f"backend{len(made)}"
        folder.mkdir()
        made.append(Backend(schema, folder))
        return made[-1]

    yield make
    for each in made:
        each.close()
