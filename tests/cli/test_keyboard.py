"""Questions at a terminal: only what is typed after a question answers it."""

from __future__ import annotations

import asyncio
import os
import pty
import sys

import pytest

from alyx.app.refusal import Refusal
from alyx.cli import project
from alyx.cli.screen import Terminal


@pytest.fixture
def typing(monkeypatch):
    """A terminal as standard input; calling it types a text."""
    keys, terminal = pty.openpty()
    with os.fdopen(terminal, closefd=True) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield lambda text: os.write(keys, text.encode())
    os.close(keys)


def ask(typing, *after):
    """Ask as many questions as there are answers, each typed once its question stands there."""

    async def run():
        screen, said = Terminal(interactive=True), []
        for text in after:
            asking = asyncio.create_task(screen.ask("Do it?"))
            for _ in range(3):  # up to where it waits
                await asyncio.sleep(0)
            typing(text)
            said.append(await asyncio.wait_for(asking, 10))
        return said

    return asyncio.run(run())


def test_what_was_typed_before_a_question_does_not_answer_it(typing):
    typing("y\ny\ny")
    assert ask(typing, "n\n", "y\n") == [False, True]


def test_an_answer_is_one_line_and_the_next_question_needs_its_own(typing):
    assert ask(typing, "y\ny\n", "\n", "n\n") == [True, False, False]


def test_what_was_typed_before_a_command_asks_does_not_confirm_it(typing, monkeypatch, capsys):
    typing("y\n")
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda *_: typing("n\n") and sys.stdin.readline())
    with pytest.raises(Refusal, match="nothing was done: this deletes"):
        project.confirm("Delete?", "this deletes every record")
