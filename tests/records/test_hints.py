"""What the operator hears of lists and rules that read whole tables."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from alyx.records import hints

MEMBERS = """
version: 1
collections:
  members:
    fields:
      id: { type: uuid, primary: true, default: auto }
      team: { type: string }
      user: { type: string%s }
    rules: { read: "true", create: "true" }
  docs:
    fields: { id: { type: uuid, primary: true, default: auto }, team: { type: string }, size: { type: int, default: 0 } }
    rules: { read: "collections.members.exists(m, m.team == doc.team && m.user == auth.id)", create: "true" }
"""


def test_a_rule_that_reads_another_collection_through_is_named_at_start(backend: Any) -> None:
    assert backend(MEMBERS % "").records.scanning_rules() == [
        "the read rule of docs reads all of members each time: index what it compares there"
    ]
    assert backend(MEMBERS % ", index: true").records.scanning_rules() == []


def test_a_slow_list_names_the_index_that_would_help_once(
    backend: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hints, "SLOW", 0.0)
    api = backend(MEMBERS % "")
    with caplog.at_level(logging.WARNING, logger="alyx.records"):
        for value in ("a", "b"):
            api.list(f"/members?filter=team:eq:{value}&sort=user")
    assert caplog.messages == ["a list of members reads all of members; an index on [team, user] may help"]


def test_a_list_that_an_index_serves_is_not_remarked_upon(
    backend: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hints, "SLOW", 0.0)
    api = backend(MEMBERS % ", index: true")
    with caplog.at_level(logging.WARNING, logger="alyx.records"):
        api.list("/members?filter=user:eq:anna")
    assert caplog.messages == []
