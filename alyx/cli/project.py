"""What most commands begin with: the settings of the project in this folder, and how they answer a script."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

from alyx import config as settings
from alyx.cli.lazy import invocation

T = TypeVar("T")


def config() -> settings.Config:
    """The checked settings, of --config or of this folder. Raises SourceError."""
    return settings.load(invocation().config)


def wait(work: Callable[[], Awaitable[T]]) -> T:
    """Run asynchronous work to its end."""

    async def run() -> T:
        return await work()

    return asyncio.run(run())


def answer_json(data: Any) -> bool:
    """With --json: print the data and say True; else say False, and the command speaks for people."""
    if not invocation().json:
        return False
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))
    return True
