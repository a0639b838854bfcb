"""The commands in this process: what they do, what they say, and their exit codes."""

from __future__ import annotations

import contextlib
import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from alyx import __version__
from alyx.cli import root
from alyx.cli.init import TEMPLATES, read_template

ADA = "0192d000-0000-7000-8000-000000000001"


# --- the command line itself --------------------------------------------------------------------------------------------------


def test_version_is_told_for_people_and_for_scripts(alyx):
    assert alyx("version").out.startswith(f"alyx {__version__} (Python 3.")
    assert alyx("version", "--json").json["alyx"] == __version__
    assert alyx("--version").out == f"alyx {__version__}\n"


def test_version_imports_nothing_heavy():
    probe = """
import sys
from alyx.cli.root import cli
try:
    cli.main(["version"])
except SystemExit:
    pass
heavy = ("sqlalchemy", "rich", "uvicorn", "yaml", "msgspec", "asyncio", "jwt", "difflib")
print([name for name in heavy if name in sys.modules])
"""
    out = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


def test_every_command_of_the_table_has_help_and_exits_with_0(alyx):
    assert alyx("--help").code == 0
    for name in root.COMMANDS:
        assert name in alyx("--help").out
        shown = alyx(name, "--help")
        assert shown.code == 0
        assert "--config" in shown.out


@pytest.mark.parametrize(
    "words",
    [
        ["nope"],
        ["init", "--template", "nope"],
        ["auth", "token"],
        ["db", "import", "x"],
        ["migrate", "rollback", "0"],
        ["dev", "--nope"],
    ],
)
def test_misuse_of_the_command_line_is_2_and_one_message(alyx, folder, words):
    result = alyx(*words)
    assert result.code == 2
    assert "Error: " in result.err
    assert "Traceback" not in result.err
    as_json = alyx(*words, "--json")
    assert (as_json.code, as_json.json["code"]) == (2, "USAGE")


def test_a_broken_alyx_yaml_is_shown_with_its_line_and_a_caret(alyx, folder):
    Path("alyx.yaml").write_text("server:\n  prot: 1\n")
    result = alyx("doctor")
    assert result.code == 1
    assert "alyx.yaml:2:3" in result.err
    assert "prot: 1" in result.err
    assert "did you mean `port`?" in result.err
    found = alyx("doctor", "--json").json
    assert found["faults"][0]["line"] == 2


@pytest.mark.parametrize(
    "text",
    [
        "auth: { jwt: { secret: 1234512345, isuer: x } }\n",
        "auth:\n  jwt:\n    secret: 1234512345\n",
        "auth:\n  jwt:\n    secret:\n      1234512345\n",
        "auth: { oauth: { google: { client_secret: [1234512345] } } }\n",
        "metrics: { token: 1234512345 }\n",
        "mail:\n  password: 1234512345 # mine\n",
        "database: { url: postgresql://me:1234512345@host/db }\n",
    ],
)
def test_no_secret_of_a_faulty_alyx_yaml_is_shown(alyx, folder, text):
    Path("alyx.yaml").write_text(text)
    result = alyx("doctor")
    assert result.code == 1
    assert "alyx.yaml:" in result.err
    assert "12345" not in result.err + result.out + alyx("doctor", "--json").out


def test_config_is_taken_before_and_after_the_command(alyx, tmp_path, folder):
    (tmp_path / "other").mkdir()
    alyx("init", "other")
    assert alyx("--config", "other/alyx.yaml", "migrate", "plan", "--json").json["changes"][0]["title"] == "add collection tasks"
    assert alyx("migrate", "plan", "--config", "other/alyx.yaml", "--json").code == 0
    missing = alyx("migrate", "plan", "--config", "nope.yaml")
    assert missing.code == 1
    assert "nope.yaml" in missing.err


def test_an_unexpected_error_is_short_and_debug_shows_where(alyx, folder, monkeypatch):
    def fails(*_):
        raise ZeroDivisionError("boom")

    monkeypatch.setattr("alyx.cli.init.read_template", fails)
    short = alyx("init")
    assert short.code == 1
    assert "ZeroDivisionError: boom" in short.err
    assert "--debug" in short.err
    assert "Traceback" not in short.err
    assert "Traceback" in alyx("init", "--debug").err


def test_ctrl_c_is_130_without_a_traceback(alyx, folder, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("alyx.cli.init.read_template", interrupted)
    result = alyx("init")
    assert result.code == 130
    assert "Traceback" not in result.err


# --- init ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", ["basic", "blog", "chat"])
def test_every_template_is_a_project_that_can_be_migrated_and_checked(alyx, folder, template):
    result = alyx("init", "app", "--template", template)
    assert result.code == 0
    assert "cd app" in result.out
    assert "alyx dev" in result.out
    assert (folder / "app" / ".gitignore").read_text().strip().endswith("/data/")
    for command in ("plan", "apply", "check", "status", "drift"):
        assert alyx("migrate", command, "--config", "app/alyx.yaml").code == 0, command
    assert (folder / "app" / "data" / "alyx.db").exists()
    assert "closed to all but admins" not in alyx("doctor", "--config", "app/alyx.yaml").out


def test_the_rules_of_the_blog_pass_their_own_cases(alyx, blog):
    result = alyx("rules", "test")
    assert result.code == 0, result.out
    assert "6 passed" in result.out


def test_init_quotes_the_way_into_a_folder_whose_name_has_a_space(alyx, folder):
    assert "cd 'with space'" in alyx("init", "with space").out


def test_init_never_overwrites(alyx, folder):
    Path("README.md").write_text("mine")
    assert alyx("init").code == 0
    assert Path("README.md").read_text() == "mine"
    Path("schema.yaml").write_text("mine, too")
    again = alyx("init", "--template", "blog")
    assert again.code == 1
    assert "schema.yaml" in again.err
    assert Path("schema.yaml").read_text() == "mine, too"
    assert not Path("seed.yaml").exists()


def test_templates_are_part_of_the_package():
    names = {path.name for path in TEMPLATES.iterdir()}
    assert names == {"basic", "blog", "chat"}
    assert set(read_template("blog")) == {".gitignore", "README.md", "alyx.yaml", "rules_tests.yaml", "schema.yaml", "seed.yaml"}
    assert {"web/index.html", "web/app.js", "web/style.css"} < set(read_template("chat"))


def test_the_example_of_a_chat_is_its_template():
    root = Path(__file__).parents[2] / "examples" / "chat"
    found = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    files = [name for name in found if not name.startswith("data/")]  # of somebody who tries it
    assert {name: (root / name).read_bytes() for name in files} == read_template("chat")


def test_the_page_of_a_chat_shows_what_others_write_as_text_only():
    page, script = (read_template("chat")[f"web/{name}"].decode() for name in ("index.html", "app.js"))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", script)
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\bsrc=)", page)
    labelled = set(re.findall(r'<label for="([^"]+)"', page))
    assert labelled == {found for _, found in re.findall(r'<(input|textarea) id="([^"]+)"', page)}


# --- migrate ------------------------------------------------------------------------------------------------------------------


def change(old, new):
    path = Path("schema.yaml")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_safe_change_is_planned_applied_and_rolled_back(alyx, blog):
    assert alyx("migrate", "check").code == 0
    change("      views: ", "      likes:        { type: int, default: 0 }\n      views: ")
    plan = alyx("migrate", "plan")
    assert "add field posts.likes" in plan.out
    assert "safe" in plan.out
    check = alyx("migrate", "check", "--json")
    assert (check.code, check.json["ok"]) == (1, False)
    applied = alyx("migrate", "apply", "--json").json
    assert [item["level"] for item in applied["changes"]] == ["safe"]
    assert alyx("migrate", "check").code == 0
    status = alyx("migrate", "status", "--json").json
    assert [step["kind"] for step in status["applied"]] == ["planned", "planned"]
    assert alyx("migrate", "rollback").code == 0
    assert alyx("migrate", "check").code == 1


def test_a_destructive_change_needs_its_flag(alyx, blog):
    alyx("db", "seed", "seed.yaml")
    change("      tags:         { type: json, nullable: true }\n", "")
    refused = alyx("migrate", "apply")
    assert refused.code == 1
    assert "--accept-data-loss" in refused.err
    assert "destructive: drop field posts.tags" in refused.err
    as_json = alyx("migrate", "apply", "--json")
    assert (as_json.code, as_json.json["refused"][0]["level"]) == (1, "destructive")
    assert alyx("migrate", "apply", "--accept-data-loss").code == 0


def test_a_plan_that_looks_like_a_rename_says_how_to_write_one(alyx, blog):
    change("      tags:         { type: json", "      labels:       { type: json")
    assert "Is labels the former tags? Then write `renamed_from: tags`" in alyx("migrate", "plan").out
    change("labels:       { type: json", "labels:       { renamed_from: tags, type: json")
    assert alyx("migrate", "plan", "--json").json["level"] == "safe"


def test_create_writes_the_difference_as_a_file_that_apply_runs(alyx, folder):
    alyx("init")
    created = alyx("migrate", "create", "first", "--json").json
    assert [Path(name).name for name in created["files"]] == ["001_first.yaml"]
    assert "001_first.yaml" in alyx("migrate", "plan").out
    assert alyx("migrate", "apply", "--json").json["applied"] == ["001_first.yaml"]
    assert alyx("migrate", "check").code == 0
    assert "no difference" in alyx("migrate", "create", "second").out


def test_drift_is_told_and_is_1(alyx, blog):
    from alyx.database.sqlite.connection import connect

    assert alyx("migrate", "drift").code == 0
    connection = connect("data/alyx.db")
    connection.execute("ALTER TABLE comments ADD COLUMN extra TEXT")
    connection.close()
    drifted = alyx("migrate", "drift")
    assert drifted.code == 1
    assert "extra" in drifted.out
    assert alyx("migrate", "drift", "--json").json["drift"]


def test_a_broken_schema_or_rule_is_refused_by_every_command_that_reads_it(alyx, blog):
    change("doc.status == 'published' ||", "doc.stats == 'published' ||")
    for words in (["migrate", "plan"], ["migrate", "apply"], ["db", "export", "posts"], ["rules", "test"]):
        result = alyx(*words)
        assert result.code == 1, words
        assert "collections.posts.rules.read" in result.err


def test_without_a_schema_the_way_out_is_named(alyx, folder):
    result = alyx("migrate", "plan")
    assert result.code == 1
    assert "alyx init" in result.err


@pytest.mark.parametrize(
    "words", [["migrate", "status"], ["migrate", "rollback"], ["migrate", "drift"], ["auth", "token", "--id", "a"]]
)
def test_in_a_folder_without_a_project_nothing_is_made(alyx, folder, words):
    result = alyx(*words)
    assert result.code == 1
    assert "there is no schema.yaml" in result.err
    assert list(folder.iterdir()) == []


def test_drift_is_told_while_the_schema_has_mistakes(alyx, blog):
    change("type: json", "typ: json")
    assert alyx("migrate", "drift").code == 0
    assert "mistakes" in alyx("migrate", "drift").err


def test_a_faulty_schema_and_its_unreadable_rules_are_told_together_in_the_order_of_the_file(alyx, blog):
    change("doc.status == 'published' ||", "doc.status == 'published' |")
    change("      tags:         { type: json", "      tags:         { typ: json")
    faults = alyx("migrate", "plan", "--json").json["faults"]
    assert [fault["path"] for fault in faults if "rules" in fault["path"]] == ["collections.posts.rules.read"]
    assert len(faults) > 1
    assert [fault["line"] for fault in faults] == sorted(fault["line"] for fault in faults)


def test_after_a_rollback_a_file_waits_again(alyx, folder):
    alyx("init")
    alyx("migrate", "create", "first")
    alyx("migrate", "apply")
    assert "The file waits again" in alyx("migrate", "rollback").out
    alyx("migrate", "apply")
    change("      due: ", "      effort:     { type: int, default: 1 }\n      due: ")
    alyx("migrate", "apply")
    assert "schema.yaml still says otherwise" in alyx("migrate", "rollback").out


# --- db -----------------------------------------------------------------------------------------------------------------------


def test_seeding_twice_changes_nothing(alyx, blog):
    assert alyx("db", "seed", "seed.yaml", "--json").json == {"inserted": 5, "skipped": 0, "faults": []}
    assert alyx("db", "seed", "seed.yaml", "--json").json == {"inserted": 0, "skipped": 5, "faults": []}


def test_seed_without_a_file_takes_seed_yaml(alyx, blog):
    assert alyx("db", "seed", "--json").json["inserted"] == 5
    Path("seed.yaml").unlink()
    assert "seed.yaml" in alyx("db", "seed").err


def test_a_seed_with_faults_names_every_line_and_writes_nothing(alyx, blog):
    Path("bad.yaml").write_text("users:\n  - name: ''\n    email: nope\nnobody:\n  - {}\nposts: 3\n")
    result = alyx("db", "seed", "bad.yaml")
    assert result.code == 1
    for part in ("bad.yaml:2", "users.name", "users.email", "no such collection", "a list of records"):
        assert part in result.err
    assert alyx("db", "export", "users").out == ""


def test_seed_rows_may_refer_to_each_other_in_any_order(alyx, blog):
    seed = {
        "comments": [],
        "posts": [{"id": ADA, "title": "t", "author_id": ADA}],
        "users": [{"id": ADA, "name": "A", "email": "a@b.c"}],
    }
    Path("seed.json").write_text(json.dumps(seed))
    assert alyx("db", "seed", "seed.json").code == 0


@pytest.mark.parametrize("name", ["users.csv", "users.jsonl"])
def test_what_is_exported_comes_in_again_the_same(alyx, blog, name):
    alyx("db", "seed", "seed.yaml")
    before = alyx("db", "export", "users").out
    assert "ada@example.com" in before  # internal fields are the owner's
    assert alyx("db", "export", "users", name).code == 0
    assert alyx("db", "reset", "--yes").code == 0
    assert alyx("db", "export", "users").out == ""
    assert "2 records" in alyx("db", "import", "users", name).out
    assert alyx("db", "export", "users").out == before


def test_import_reads_standard_input_and_export_writes_standard_output(alyx, blog):
    result = alyx("db", "import", "users", "-", "--format", "csv", stdin='name,email,bio\nAda,a@b.c,\nBob,b@b.c,""\n')
    assert result.code == 0
    rows = [json.loads(line) for line in alyx("db", "export", "users", "-").out.splitlines()]
    assert {row["name"]: row["bio"] for row in rows} == {"Ada": None, "Bob": ""}
    header = alyx("db", "export", "users", "--format", "csv").out.splitlines()[0]
    assert header == "id,name,email,bio,created_at"


def test_an_import_with_faults_tells_each_line_and_writes_nothing_after_it(alyx, blog):
    Path("u.jsonl").write_text('{"name":"A","email":"a@b.c"}\n{"name":""}\n{"nam":1}\n{"name":"B","email":"b@b.c"}\n')
    result = alyx("db", "import", "users", "u.jsonl")
    assert result.code == 1
    assert "line 2" in result.err
    assert "line 3" in result.err
    assert alyx("db", "import", "users", "u.jsonl", "--atomic", "--json").json["inserted"] == 0


def test_a_long_import_goes_in_by_the_thousand_and_all_or_nothing_when_asked(alyx, blog):
    rows = [f'{{"name":"n{n}","email":"u{n}@b.c"}}\n' for n in range(1500)]
    Path("u.jsonl").write_text("".join(rows) + rows[0])
    refused = alyx("db", "import", "users", "u.jsonl", "--atomic", "--json")
    assert (refused.code, refused.json["inserted"]) == (1, 0)
    assert refused.json["faults"][0]["line"] == 1501
    partly = alyx("db", "import", "users", "u.jsonl", "--json")
    assert (partly.code, partly.json["inserted"]) == (1, 1000)


def test_a_dump_is_everything_and_seed_takes_it_back(alyx, blog):
    alyx("db", "seed", "seed.yaml")
    assert alyx("db", "dump", "all.jsonl", "--json").json["dumped"] == 5
    assert alyx("db", "dump", "folder/").code == 0
    assert sorted(path.name for path in Path("folder").iterdir()) == ["comments.jsonl", "posts.jsonl", "users.jsonl"]
    whole = alyx("db", "dump").out
    alyx("db", "reset", "--yes")
    assert alyx("db", "seed", "all.jsonl").code == 0
    assert alyx("db", "dump").out == whole


def test_emptying_the_trash_asks_and_then_removes_what_a_rollback_would_bring_back(alyx, blog, edit):
    alyx("db", "seed", "seed.yaml")
    edit("schema.yaml", "      bio: ", "      life: ")
    assert alyx("migrate", "apply", "--accept-data-loss").code == 0
    refused = alyx("migrate", "empty-trash", stdin="n\n")
    assert refused.code == 1
    assert "--yes" in refused.err
    assert alyx("migrate", "empty-trash", "--yes", "--json").json == {"removed": 1}
    assert "is empty" in alyx("migrate", "empty-trash", "--yes").out
    assert "no longer kept" in "".join(alyx("migrate", "rollback", "--json").json["remarks"])


def test_reset_asks_and_does_nothing_without_a_yes(alyx, blog):
    alyx("db", "seed", "seed.yaml")
    refused = alyx("db", "reset", stdin="n\n")
    assert refused.code == 1
    assert "--yes" in refused.err
    assert alyx("db", "export", "users").out


def test_reset_is_refused_while_somebody_has_the_database_open(alyx, blog):
    from alyx.database.sqlite.connection import connect

    connection = connect("data/alyx.db")
    connection.execute("SELECT count(*) FROM users").fetchall()
    try:
        result = alyx("db", "reset", "--yes")
    finally:
        connection.close()
    assert result.code == 1
    assert "is in use" in result.err
    assert Path("data/alyx.db").exists()


def test_a_collection_that_does_not_exist_is_named_with_the_nearest(alyx, blog):
    result = alyx("db", "export", "post")
    assert result.code == 1
    assert "did you mean `posts`?" in result.err


def test_records_cannot_be_moved_before_the_database_is_migrated(alyx, folder):
    alyx("init")
    result = alyx("db", "export", "tasks")
    assert result.code == 1
    assert "alyx migrate apply" in result.err


# --- auth ---------------------------------------------------------------------------------------------------------------------


def test_a_token_carries_who_it_says_and_is_good_for_this_project(alyx, blog):
    from alyx import config
    from alyx.auth.tokens import Verifier

    result = alyx(
        "auth",
        "token",
        "--id",
        ADA,
        "--role",
        "admin",
        "--email",
        "a@b.c",
        "--claims",
        '{"team":"red"}',
        "--ttl",
        "12h",
        "--json",
    )
    assert result.code == 0
    assert result.json["expires_in"] == 43200
    secret = Path("data/jwt.secret").read_text().strip()
    found = Verifier(config.load().tokens(secret)).identify(f"Bearer {result.json['token']}").values
    assert (found["id"], found["role"], found["email"], found["claims"]) == (ADA, "admin", "a@b.c", {"team": "red"})
    spoken = alyx("auth", "token", "--id", ADA)
    assert spoken.out.count("\n") == 1
    assert "development" in spoken.err


def test_a_token_needs_sane_options(alyx, blog):
    assert alyx("auth", "token", "--id", ADA, "--ttl", "soon").code == 2
    assert alyx("auth", "token", "--id", ADA, "--ttl", "0s").code == 2
    assert alyx("auth", "token", "--id", ADA, "--role", "").code == 2
    assert alyx("auth", "token", "--id", "").code == 2
    assert alyx("auth", "token", "--id", ADA, "--claims", "{").code == 2
    assert alyx("auth", "token", "--id", ADA, "--claims", "[]").code == 2


# --- rules --------------------------------------------------------------------------------------------------------------------

CASES = f"""
- name: everybody reads what is published
  collection: posts
  operation: read
  doc: {{ status: published }}
  expect: allow
- name: a draft is nobody's
  collection: posts
  operation: read
  doc: {{ status: draft, author_id: {ADA} }}
  expect: deny
- name: a draft is its author's
  collection: posts
  operation: read
  auth: {{ id: {ADA} }}
  doc: {{ status: draft, author_id: {ADA} }}
  expect: allow
- name: a post cannot be given away
  collection: posts
  operation: update
  auth: {{ id: {ADA} }}
  doc: {{ author_id: {ADA} }}
  change: {{ author_id: 0192d000-0000-7000-8000-000000000002 }}
  expect: deny
- name: a comment is seen where its post is
  collection: comments
  operation: read
  doc: {{ post_id: {ADA} }}
  given: {{ posts: [{{ id: {ADA}, title: t, status: published, author_id: {ADA} }}] }}
  expect: allow
- name: and not where it is a draft
  collection: comments
  operation: read
  doc: {{ post_id: {ADA} }}
  given: {{ posts: [{{ id: {ADA}, title: t, status: draft, author_id: {ADA} }}] }}
  expect: deny
"""


def test_the_cases_beside_the_schema_are_run(alyx, blog):
    Path("rules_tests.yaml").write_text(CASES)
    result = alyx("rules", "test")
    assert result.code == 0, result.out
    assert "6 passed, 0 failed" in result.out


def test_a_case_that_fails_is_shown_with_the_rule_that_decided(alyx, blog):
    Path("rules_tests.yaml").write_text(CASES.replace("expect: deny", "expect: allow", 1))
    result = alyx("rules", "test")
    assert result.code == 1
    assert "denied by read: doc.status == 'published' || auth.id == doc.author_id" in result.out
    found = alyx("rules", "test", "--json")
    assert (found.code, found.json["failed"]) == (1, 1)


def test_a_case_is_judged_as_the_api_judges(alyx, blog):
    """What may not be read cannot be updated, and the request is that of the operation."""
    schema = Path("schema.yaml").read_text()
    update = 'update: "auth.id == doc.author_id"'
    assert update in schema
    rule = "request.method == 'PATCH' && request.body.title == 'x' && doc.status == 'draft'"
    Path("schema.yaml").write_text(schema.replace(update, f'update: "{rule}"', 1))
    case = "- {collection: posts, operation: update, doc: {status: draft, author_id: %s}, change: {title: x}, expect: allow%s}\n"
    Path("cases.yaml").write_text(case % (ADA, "") + case % (ADA, f", auth: {{id: {ADA}}}"))
    result = alyx("rules", "test", "cases.yaml")
    assert "1 passed, 1 failed" in result.out
    assert "denied by read: " in result.out
    Path("cases.yaml").write_text("- {collection: posts, operation: read, request: {methd: GET}, auth: {id: 5}, expect: deny}\n")
    result = alyx("rules", "test", "cases.yaml")
    assert "0.request.methd" in result.err
    assert "0.auth.id" in result.err


def test_a_case_with_faults_is_refused_with_every_line(alyx, blog):
    Path("cases.yaml").write_text(
        "- {collection: post, operation: read, expect: allow}\n- {collection: posts, operation: rea, expect: no}\n"
    )
    result = alyx("rules", "test", "cases.yaml")
    assert result.code == 1
    for part in ("did you mean `posts`?", "did you mean `read`?", "0.collection", "1.expect"):
        assert part in result.err
    Path("cases.yaml").write_text("- {collection: posts, operation: read, doc: {titel: x, views: many}, expect: allow}\n")
    result = alyx("rules", "test", "cases.yaml")
    assert "0.doc.titel" in result.err
    assert "0.doc.views" in result.err


POST, DRAFT = "0192d000-0000-7000-8000-000000000011", "0192d000-0000-7000-8000-000000000012"


def test_explain_shows_which_part_decided_and_what_it_saw(alyx, blog):
    alyx("db", "seed", "seed.yaml")
    refused = alyx("rules", "explain", "posts", "read", DRAFT)
    assert refused.code == 1
    assert "false doc.status == 'published'  doc.status = \"draft\"" in refused.out
    assert "error auth.id == doc.author_id  auth.id = null" in refused.out
    assert "refused" in refused.out
    found = alyx("rules", "explain", "posts", "read", DRAFT, "--id", ADA, "--json")
    assert (found.code, found.json["allowed"]) == (0, True)


def test_explain_marks_the_condition_that_decides_without_colours(alyx, blog):
    alyx("db", "seed", "seed.yaml")
    shown = alyx("rules", "explain", "posts", "read", POST).out
    (line,) = [line for line in shown.splitlines() if "← decides" in line]
    assert "doc.status == 'published'" in line
    assert "||" not in line


def test_explain_names_what_there_is_where_it_does_not_find_what_was_named(alyx, blog):
    unknown = alyx("rules", "explain", "nothing", "read", POST)
    assert unknown.code == 1
    assert "there is no collection nothing" in unknown.err
    assert "users, posts, comments" in unknown.err
    missing = alyx("rules", "explain", "posts", "read", ADA)
    assert missing.code == 1
    assert f"there is no record {ADA} in posts" in missing.err
    assert "alyx db export posts" in missing.err


def test_explain_judges_the_read_rule_first_and_the_changed_record_last(alyx, blog):
    alyx("db", "seed", "seed.yaml")
    change = json.dumps({"author_id": "0192d000-0000-7000-8000-000000000002"})
    found = alyx("rules", "explain", "posts", "update", POST, "--id", ADA, "--data", change, "--json").json
    steps = [(step["operation"], step["allowed"]) for step in found["rules"]]
    assert steps == [("read", True), ("update", True), ("update_check", False)]


def test_explain_asks_the_database_about_other_collections(alyx, blog):
    alyx("db", "seed", "seed.yaml")
    for post, code in ((POST, 0), (DRAFT, 1)):
        data = json.dumps({"post_id": post, "author_id": ADA, "body": "x"})
        assert alyx("rules", "explain", "comments", "create", "--id", ADA, "--data", data).code == code


def test_explain_names_what_is_wrong_with_the_question(alyx, blog):
    assert alyx("rules", "explain", "post", "read", ADA).code == 1
    assert alyx("rules", "explain", "posts", "read", ADA).code == 1
    assert "name its id" in alyx("rules", "explain", "posts", "read").err
    assert alyx("rules", "explain", "posts", "create", "--data", "{").code == 2


# --- doctor -------------------------------------------------------------------------------------------------------------------


def test_doctor_finds_a_good_project_good(alyx, blog, monkeypatch):
    monkeypatch.setenv("ALYX_AUTH_JWT_SECRET", "x" * 32)
    found = alyx("doctor", "--json")
    assert found.code == 0
    states = {check["name"]: check["state"] for check in found.json["checks"]}
    assert states["integrity"] == states["references"] == states["secret"] == states["migrations"] == "ok"
    assert "0 failed" in alyx("doctor").out


def test_doctor_fails_on_what_is_broken_and_names_the_mend(alyx, blog, monkeypatch):
    from alyx.database.sqlite.connection import connect

    monkeypatch.setenv("ALYX_AUTH_JWT_SECRET", "short")
    monkeypatch.setenv("ALYX_NONSENSE", "1")
    connection = connect("data/alyx.db")
    connection.execute("PRAGMA foreign_keys = OFF")
    columns = "id, title, status, author_id, views, created_at, updated_at"
    connection.execute(f"INSERT INTO posts ({columns}) VALUES ('{ADA}', 't', 'draft', '{ADA}', 0, '', '')")
    connection.execute("DROP INDEX idx_posts_status_date")
    connection.close()
    found = alyx("doctor", "--json")
    assert found.code == 1
    states = {(check["name"], check["state"]) for check in found.json["checks"]}
    assert {("secret", "fail"), ("references", "fail"), ("drift", "fail"), ("environment", "warn")} <= states
    assert all(check["mend"] for check in found.json["checks"] if check["state"] == "fail")


def test_doctor_tells_of_settings_that_do_nothing_under_config(alyx, blog):
    Path("alyx.yaml").write_text("mail: { host: x }\n")
    checks = alyx("doctor", "--json").json["checks"]
    assert [check["name"] for check in checks if "mail.host" in check["text"]] == ["config"]


def test_doctor_says_what_is_wrong_with_a_file_that_is_no_database(alyx, folder):
    alyx("init")
    Path("data").mkdir()
    Path("data/alyx.db").write_bytes(b"not a database, not a database" * 100)
    result = alyx("doctor")
    assert result.code == 1
    assert "is not a SQLite database" in result.out


def test_doctor_leaves_a_database_that_is_not_its_own_as_it_is(alyx, folder):
    import sqlite3

    alyx("init")
    Path("data").mkdir()
    with contextlib.closing(sqlite3.connect("data/alyx.db")) as foreign:
        foreign.execute("CREATE TABLE t (x)")
        foreign.commit()
    before = Path("data/alyx.db").read_bytes()
    result = alyx("doctor")
    assert result.code == 0
    assert "holds nothing of Alyx yet" in result.out
    assert Path("data/alyx.db").read_bytes() == before


def test_only_its_owner_may_read_a_database_that_is_made(alyx, blog):
    assert stat.S_IMODE(Path("data/alyx.db").stat().st_mode) == 0o600


def test_doctor_works_before_there_is_a_database(alyx, folder):
    alyx("init")
    result = alyx("doctor")
    assert result.code == 0
    assert "not there yet" in result.out
    assert not Path("data/alyx.db").exists()
