"""Who may agree to which change of the database."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from alyx import config
from alyx.app import build, upgrade
from alyx.app.refusal import Refusal
from alyx.app.upgrade import Consent
from tests.database.data import make as made_by_0_1_0

SCHEMA = """
version: 1
collections:
  things:
    fields:
      id:   { type: id, primary: true, default: auto }
      name: { type: string }
      note: { type: text, nullable: true }
    rules: { read: "true" }
"""


class Screen:
    def __init__(self):
        self.told = []

    def plan(self, plan):
        self.told.append("plan")

    def done(self, text):
        self.told.append(text)

    def remark(self, text):
        self.told.append(text)


@pytest.fixture
def project(tmp_path):
    """A project; calling it writes a schema and gives its settings and source."""

    def make(schema=SCHEMA, settings=""):
        (tmp_path / "schema.yaml").write_text(schema)
        (tmp_path / "alyx.yaml").write_text(settings)
        found = config.load(tmp_path / "alyx.yaml", env={})
        return found, build.read_source(found)

    return make


def asks(*answers):
    questions = []
    left = list(answers)

    async def ask(question):
        questions.append(question)
        return left.pop(0)

    return ask, questions


def develop(settings, source, ask, **consent):
    screen = Screen()
    done = asyncio.run(upgrade.for_development(settings, source, screen, Consent(ask, **consent)))
    return done, screen


def fill(settings):
    from alyx.database.sqlite.connection import connect

    connection = connect(settings.database_path)
    connection.execute("INSERT INTO things (id, name, note) VALUES ('123456789012345', 'a', 'b')")
    connection.close()


@pytest.mark.parametrize("start", ["serve", "dev"])
def test_a_start_after_an_update_of_alyx_makes_the_triggers_anew_and_says_nothing(project, start):
    settings, source = project(made_by_0_1_0.PROJECT)
    settings.database_path.parent.mkdir()
    shutil.copy(made_by_0_1_0.FOLDER / "project-0.1.0.db", settings.database_path)
    assert build.migrator(settings).drift(source.schema).found
    if start == "dev":
        done, screen = develop(settings, source, None)
        assert not done
    else:
        screen = Screen()
        upgrade.for_production(settings, source, screen, migrate=False)
    assert screen.told == []
    assert build.migrator(settings).drift(source.schema).found == ()


def test_what_is_safe_is_done_without_asking(project):
    ask, questions = asks()
    done, screen = develop(*project(), ask)
    assert (done, questions) == (True, [])
    assert screen.told == ["plan", "Migrated: add collection things"]
    assert develop(*project(), ask)[0] is False


@pytest.mark.parametrize(("answer", "message"), [(None, "somebody's yes"), (False, "was not changed")])
def test_data_is_never_lost_without_a_yes(project, answer, message):
    develop(*project(), None)
    settings, source = project(SCHEMA.replace("      note: { type: text, nullable: true }\n", ""))
    fill(settings)
    ask, questions = asks(answer)
    with pytest.raises(Refusal, match=message) as caught:
        develop(settings, source, ask)
    assert len(questions) == 1
    assert "--accept-data-loss" in caught.value.hint
    assert not build.migrator(settings).plan(source.schema).empty


def test_a_yes_or_the_flag_lets_data_go(project):
    shrunk = SCHEMA.replace("      note: { type: text, nullable: true }\n", "")
    develop(*project(), None)
    settings, source = project(shrunk)
    fill(settings)
    ask, questions = asks(True)
    assert develop(settings, source, ask)[0] is True
    assert len(questions) == 1
    develop(*project(), None)
    assert develop(*project(shrunk), None, accept_data_loss=True)[0] is True


def test_rows_that_stand_in_the_way_stop_a_change_before_anybody_is_asked(project):
    develop(*project(), None)
    settings, source = project(SCHEMA.replace("name: { type: string }", "name: { type: int }"))
    fill(settings)
    with pytest.raises(Refusal, match="stand in the way"):
        develop(settings, source, None)


def test_with_auto_migrate_off_nothing_is_done(project):
    with pytest.raises(Refusal, match="auto_migrate is off"):
        develop(*project(settings="dev: { auto_migrate: false }"), None)


def test_changes_can_become_files_first(project, tmp_path):
    done, screen = develop(*project(), None, write=True)
    assert done
    assert "Wrote 001_add_collection_things.yaml" in screen.told
    assert (tmp_path / "migrations" / "001_add_collection_things.yaml").exists()


def test_a_file_that_drops_something_is_asked_for_but_not_where_there_is_nothing_to_lose(project, tmp_path):
    shrunk = SCHEMA.replace("      note: { type: text, nullable: true }\n", "")
    develop(*project(), None, write=True)
    fill(project()[0])
    develop(*project(shrunk), None, accept_data_loss=True, write=True)
    assert len(list((tmp_path / "migrations").iterdir())) == 2
    settings, source = project(shrunk)
    build.migrator(settings).rollback()
    ask, questions = asks(None)
    with pytest.raises(Refusal, match="somebody's yes"):
        develop(settings, source, ask)
    assert questions == ["002_drop_field_things_note.yaml may lose data. Run it?"]
    settings.database_path.unlink()
    assert develop(settings, source, None)[0] is True


def test_a_file_that_changes_a_type_is_asked_for(project, tmp_path):
    develop(*project(), None, write=True)
    fill(project()[0])
    folder = tmp_path / "migrations"
    (folder / "002_shorten.yaml").write_text(
        "version: 2\nname: shorten\noperations:\n"
        "  - { type: modify_field, collection: things, field: note,"
        " from: { type: text, nullable: true }, to: { type: string, nullable: true } }\n"
    )
    settings, source = project(SCHEMA.replace("note: { type: text,", "note: { type: string,"))
    ask, questions = asks(None)
    with pytest.raises(Refusal, match="somebody's yes"):
        develop(settings, source, ask)
    assert questions == ["002_shorten.yaml may lose data. Run it?"]


def test_production_refuses_an_unmigrated_database_and_migrates_only_what_is_safe(project):
    settings, source = project()
    with pytest.raises(Refusal, match=r"not at schema\.yaml: add collection things"):
        upgrade.for_production(settings, source, Screen(), migrate=False)
    screen = Screen()
    upgrade.for_production(settings, source, screen, migrate=True)
    assert screen.told == ["Migrated: add collection things"]
    upgrade.for_production(settings, source, Screen(), migrate=False)
    fill(settings)
    settings, source = project(SCHEMA.replace("      note: { type: text, nullable: true }\n", ""))
    with pytest.raises(Refusal) as caught:
        upgrade.for_production(settings, source, Screen(), migrate=True)
    assert caught.value.data["reasons"]


def by_hand(settings, sql):
    from alyx.database.sqlite.connection import connect

    connection = connect(settings.database_path)
    connection.execute(sql)
    connection.close()


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("DROP TABLE things", "things: the table is missing"),
        ("ALTER TABLE things RENAME COLUMN note TO n", "things.note: the column is missing"),
    ],
)
def test_production_refuses_tables_from_which_something_was_taken_by_hand(project, sql, reason):
    settings, source = project()
    upgrade.for_production(settings, source, Screen(), migrate=True)
    by_hand(settings, sql)
    with pytest.raises(Refusal, match="not what the history") as caught:
        upgrade.for_production(settings, source, Screen(), migrate=False)
    assert reason in caught.value.data["reasons"]


def test_production_only_tells_of_what_was_added_by_hand(project):
    settings, source = project()
    upgrade.for_production(settings, source, Screen(), migrate=True)
    by_hand(settings, "ALTER TABLE things ADD COLUMN more TEXT")
    screen = Screen()
    upgrade.for_production(settings, source, screen, migrate=False)
    assert screen.told == ["changed by hand: things.more: a column that the schema does not know"]


def test_what_to_tell_at_start(project, tmp_path):
    settings, source = project(settings="mail: { host: x }")
    told = build.remarks(settings, source)
    assert "things has no rule for create, update and delete: closed to all but admins" in told
    assert any("mail.host" in text for text in told)
    assert Path(settings.file).name == "alyx.yaml"
