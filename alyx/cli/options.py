"""Values of options that are more than a word, read alike by every command that takes them."""

from __future__ import annotations

import json
from typing import Any

import click

from alyx.base import units


def json_object(text: str | None, option: str) -> dict[str, Any] | None:
    """A JSON object, None where the option is absent. option: its name, such as `--claims`, for click.BadParameter."""
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError as error:
        raise click.BadParameter("this is not JSON", param_hint=option) from error
    if not isinstance(found, dict):
        raise click.BadParameter("a JSON object is needed", param_hint=option)
    return found


def seconds(text: str | None, option: str) -> float | None:
    """A duration such as `12h`, never none at all; None where the option is absent. Raises click.BadParameter with its name."""
    if text is None:
        return None
    try:
        found = units.duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from error
    if found < 1:
        raise click.BadParameter("at least `1s` is needed", param_hint=option)
    return found
