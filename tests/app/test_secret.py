"""The secret that signs tokens."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alyx import config
from alyx.app import secret
from alyx.app.refusal import Refusal

LONG = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def settings(tmp_path):
    def make(value=None):
        (tmp_path / "alyx.yaml").write_text("")
        return config.load(tmp_path / "alyx.yaml", env={"ALYX_AUTH_JWT_SECRET": value} if value else {})

    return make


def test_development_makes_a_private_secret_once(settings):
    first, made = secret.for_development(settings())
    assert made is not None
    assert made.stat().st_mode & 0o777 == 0o600
    assert len(first.encode()) >= config.MIN_SECRET
    assert secret.for_development(settings()) == (first, None)


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 40])
def test_a_secret_file_that_holds_nothing_usable_is_made_anew_and_stays_private(settings, content):
    _, made = secret.for_development(settings())
    made.write_bytes(content)
    made.chmod(0o644)
    again, file = secret.for_development(settings())
    assert len(again) >= config.MIN_SECRET
    assert file.stat().st_mode & 0o777 == 0o600


def test_of_two_that_make_the_secret_at_once_the_first_wins(settings, monkeypatch):
    chosen = settings()
    folder = secret.file_of(chosen).parent
    made_by_another = "of another process, long enough to sign with"
    made_folder = Path.mkdir

    def mkdir(self, *given, **named):
        """Between the look for a file and its making: the moment when another process makes it."""
        made_folder(self, *given, **named)
        if self == folder:
            secret.file_of(chosen).write_text(made_by_another + "\n")

    monkeypatch.setattr(Path, "mkdir", mkdir)
    assert secret.for_development(chosen) == (made_by_another, None)
    assert secret.file_of(chosen).read_text().strip() == made_by_another


def test_all_that_mend_an_emptied_secret_at_once_agree(settings):
    chosen = settings()
    secret.for_development(chosen)
    secret.file_of(chosen).write_text("")
    start = threading.Barrier(8)

    def mend(_):
        start.wait()
        return secret.for_development(chosen)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(mend, range(8)))
    assert {text for text, _ in found} == {secret.file_of(chosen).read_text().strip()}
    assert sum(made is not None for _, made in found) == 1


def test_a_configured_secret_wins_and_nothing_is_written(settings, tmp_path):
    assert secret.for_development(settings(LONG)) == (LONG, None)
    assert secret.for_production(settings(LONG)) == LONG
    assert not (tmp_path / "data").exists()


def test_production_refuses_a_missing_or_short_secret_without_showing_it(settings):
    with pytest.raises(Refusal, match="not set"):
        secret.for_production(settings())
    with pytest.raises(Refusal, match="31 bytes") as caught:
        secret.for_production(settings(LONG[1:]))
    assert LONG[1:] not in str(caught.value)


def test_development_takes_a_short_secret_and_says_so(settings):
    assert secret.for_development(settings("short")) == ("short", None)
    assert "5 bytes" in secret.remarks(settings("short"))[0]
    assert secret.remarks(settings(LONG)) == []


def test_bytes_are_counted_and_not_characters(settings):
    assert secret.for_production(settings("ä" * 16)) == "ä" * 16
