"""The secret that signs tokens."""

from __future__ import annotations

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


def test_a_secret_file_that_was_emptied_is_made_anew_and_stays_private(settings):
    _, made = secret.for_development(settings())
    made.write_text("")
    made.chmod(0o644)
    again, file = secret.for_development(settings())
    assert len(again) >= config.MIN_SECRET
    assert file.stat().st_mode & 0o777 == 0o600


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
