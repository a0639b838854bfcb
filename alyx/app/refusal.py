"""The one way in which `app` and `cli` say that something cannot be done and what would mend it."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """Something cannot be done, for a reason that the person at the keyboard can mend.

    message: one sentence. hint: what to do about it. data: what `--json` adds to the answer.
    """

    def __init__(self, message: str, hint: str | None = None, **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.data = data
