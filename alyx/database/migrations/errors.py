"""What the migrator raises; each message is for the person at the command line."""

from __future__ import annotations


class MigrationError(Exception):
    """A migration cannot be made; nothing of it was. message: one sentence. hint: what would mend it. reasons: one line each."""

    def __init__(self, message: str, *, hint: str | None = None, reasons: list[str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.reasons = reasons or []

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"  {reason}" for reason in self.reasons), *([self.hint] if self.hint else [])])
