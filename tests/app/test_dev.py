"""Dev mode hears the next save, whatever became of the last."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from alyx.app import build, dev, upgrade


class Told:
    """A screen that remembers what failed."""

    def __init__(self) -> None:
        self.failures: list[tuple[str, str | None]] = []

    def failed(self, error: Exception, *, still: str | None = None) -> None:
        self.failures.append((str(error), still))


def test_an_unexpected_error_is_shown_and_the_reload_goes_on_listening(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> bool:
        raise PermissionError("the folder is not writable")

    monkeypatch.setattr(build, "read_source", lambda _: None)
    monkeypatch.setattr(upgrade, "for_development", fails)
    screen = Told()
    program = SimpleNamespace(remarks=list, swap=lambda _: None)
    consent = upgrade.Consent(ask=lambda _: None)  # type: ignore[arg-type, return-value]  # never asked here
    reload = dev._Reload(None, screen, program, None, consent, "", None)  # type: ignore[arg-type]  # only what a failure needs
    for _ in range(2):
        asyncio.run(reload.run())
    assert len(screen.failures) == 2
    assert "the folder is not writable" in screen.failures[0][0]
    assert screen.failures[0][1] == "Still serving the last good state."
