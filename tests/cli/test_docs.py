"""docs/cli.md names every command with its options, and nothing else; its example works."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from alyx.cli.root import cli

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
ROWS = dict(re.findall(r"^\| `alyx ([a-z]+(?:[ -][a-z]+)*?)((?: [\[A-Z-].*?)?)` \|", PAGE, re.MULTILINE))
SHARED = {"--config", "--json", "--debug", "--help", "-h", "--version"}


def commands(group, path=()):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def test_every_command_stands_in_the_page_with_its_options_and_no_other_does():
    known = dict(commands(cli))
    assert set(ROWS) == set(known)
    for name, command in known.items():
        options = {option for parameter in command.params for option in parameter.opts if option.startswith("-")} - SHARED
        written = set(re.findall(r"--[a-z-]+", ROWS[name]))
        assert written == options, name


@pytest.mark.parametrize("example", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_the_example_can_be_seeded(alyx, blog, example):
    Path("example.yaml").write_text(example)
    assert alyx("db", "seed", "example.yaml").code == 0
