"""docs/migrations.md keeps its word: every file in it is one, and no command or operation is forgotten."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alyx.database.migrations import files
from alyx.schema.load import loads

from .conftest import World

DOC = (Path(__file__).parents[2] / "docs" / "migrations.md").read_text(encoding="utf-8")
FILES = [text for text in re.findall(r"^```yaml\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL) if "operations:" in text]
POSTS = """version: 1
collections:
  posts:
    fields:
      id: {type: uuid, primary: true, default: auto}
      title: {type: string, maxLength: 200}
"""


def test_the_files_run_one_after_the_other_and_roll_back(world: World) -> None:
    schema = loads(POSTS)
    world.migrator.apply(schema)
    world.run("INSERT INTO posts VALUES ('0190c2d1-5b1e-7c3a-9f00-0123456789ab', 'Hello There')")
    assert len(FILES) == 3
    for text in FILES:
        head = dict(re.findall(r"^(version|name): (.*)$", text, re.MULTILINE))
        world.write(files.file_name(int(head["version"]), head["name"]), text)
    new = POSTS.replace("title: {type: string, maxLength: 200}", "headline: {type: string, maxLength: 200}")
    applied = world.migrator.apply(loads(new + "      slug: {type: string, unique: true, nullable: true}\n"))
    assert (applied.ok, len(applied.files), applied.changes) == (True, 3, ())
    assert world.run("SELECT slug FROM posts") == [("hello-there-0190c2d1",)]
    world.migrator.rollback(3)
    assert [file.version for file in world.migrator.status().pending] == [2, 3, 4]
    assert world.run("SELECT title FROM posts") == [("Hello There",)]


@pytest.mark.parametrize("operation", sorted(files.OPERATION_KEYS))
def test_every_operation_is_described_with_its_keys_and_shown(operation: str) -> None:
    row = re.search(rf"^\| `{operation}` \| (.*) \|$", DOC, re.MULTILINE)
    assert row
    assert set(re.findall(r"`(\w+)`", row[1])) >= set(files.OPERATION_KEYS[operation])
    assert re.search(rf"- (type: )?{operation}\b", FILES[-1])


@pytest.mark.parametrize("command", ["plan", "apply", "create", "status", "rollback", "drift", "check"])
def test_every_command_is_described(command: str) -> None:
    assert f"alyx migrate {command}" in DOC
