"""The errors that reach a user, as plain values: a code of the contract, a message, and what to do about it.

Every layer raises them; only `http` turns them into a status and only `cli` into an exit code. A message never holds SQL,
a path of the server or a stack.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Detail:
    """One fault of an input: which field, which code of contract §3, and a sentence."""

    field: str
    code: str
    message: str


class AlyxError(Exception):
    """An error with a code that users and clients rely on.

    code: one of the contract's codes, such as `FORBIDDEN`. message: one sentence. details: single faults, at most 100 are
    shown. hint: what would mend it. retry_after: seconds, for the codes that ask to come back later.
    operation: which operation of a batch failed. replayed: it was kept under an Idempotency-Key and is given again.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        details: list[Detail] | None = None,
        hint: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details or []
        self.hint = hint
        self.retry_after = retry_after
        self.operation: int | None = None
        self.replayed = False


@dataclass(frozen=True, slots=True)
class SourceFault:
    """One fault in a file that the user wrote (schema.yaml, alyx.yaml, a migration, a rule).

    path: dotted path inside the file, such as `collections.posts.rules.read`; line and column count from 1 (0 = unknown).
    at_key: whether they are those of the key at the path rather than of its value.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str | None = None
    at_key: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        place = self.file + (f":{self.line}" if self.line else "")
        text = f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"
        return f"{text} ({self.hint})" if self.hint else text


@dataclass(slots=True)
class SourceError(Exception):
    """A file cannot be used; holds every fault found, in file order. Raised by loaders, shown by `cli` and dev mode."""

    faults: list[SourceFault] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join(str(fault) for fault in self.faults)
