"""What most commands begin with: the settings of the project in this folder, and how they answer a script."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

from alyx import config as settings
from alyx.app.refusal import Refusal
from alyx.cli import keyboard
from alyx.cli.lazy import invocation
from alyx.schema.model import Collection, Schema

T = TypeVar("T")


def listens(command: Callable[..., None]) -> Callable[..., None]:
    """The options --host and --port; they win over the file by way of the environment, which workers inherit."""
    port = click.option(
        "--port", type=click.IntRange(0, 65535), expose_value=False, callback=_set("server.port"), help="Instead of server.port."
    )
    host = click.option("--host", expose_value=False, callback=_set("server.host"), help="Instead of server.host.")
    return host(port(command))


def _set(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    variable = next(key.env for key in settings.KEYS if key.name == name)

    def callback(_context: click.Context, _option: click.Parameter, value: Any) -> None:
        if value is not None:
            os.environ[variable] = str(value)

    return callback


def config() -> settings.Config:
    """The checked settings, of --config or of this folder. Raises SourceError."""
    return settings.load(invocation().config)


def collection(schema: Schema, name: str) -> Collection:
    """The collection of that name. Raises Refusal that names the nearest, or those that there are."""
    from alyx.schema.yaml import did_you_mean

    if name not in schema.collections:
        raise Refusal(f"there is no collection {name}", did_you_mean(name, schema.collections))
    return schema.collections[name]


def wait(work: Callable[[], Awaitable[T]]) -> T:
    """Run asynchronous work to its end."""

    async def run() -> T:
        return await work()

    return asyncio.run(run())


def confirm(question: str, what: str) -> None:
    """Ask the person at the keyboard. what: it does, for the Refusal that is raised if nobody is there, or the answer is no."""
    if not sys.stdin.isatty():
        raise Refusal(f"{what}, and nobody is here to ask", "say --yes if that is meant")
    keyboard.forget_typed()
    if not click.confirm(question, err=True):
        raise Refusal(f"nothing was done: {what}, and the answer was no")


def answer_json(data: Any) -> bool:
    """With --json: print the data and say True; else say False, and the command speaks for people."""
    if not invocation().json:
        return False
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))
    return True
