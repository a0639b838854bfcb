"""Loading schema.yaml: the model it makes, and for each fault its line, path, message and hint."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

import pytest

from alyx.base.errors import SourceError, SourceFault
from alyx.schema import load, model
from alyx.schema.model import Field, Reference, Schema, Type

KEY = "id: { type: uuid, primary: true, default: auto }"
USERS = """\
  users:
    fields:
      id: { type: uuid, primary: true, default: auto }
      name: { type: string, unique: true }
      age: { type: int }
"""


def faults_of(text: str) -> list[SourceFault]:
    with pytest.raises(SourceError) as caught:
        load.loads(text)
    return caught.value.faults


def one_field(definition: str) -> str:
    """A schema with `users` (lines 3-7) and `c`, whose field `f` stands in line 11."""
    return f"version: 1\ncollections:\n{USERS}  c:\n    fields:\n      {KEY}\n      f: {definition}\n"


def field(definition: str) -> Field:
    return load.loads(one_field(definition)).collections["c"].fields["f"]


CONTRACT = """\
version: 1
collections:
  users:
    fields:
      id: { type: uuid, primary: true, default: auto }
  posts:
    fields:
      id:         { type: uuid, primary: true, default: auto }
      title:      { type: string, minLength: 1, maxLength: 200 }
      body:       { type: richtext, nullable: true, richtext: { preset: basic } }
      status:     { type: select, select: { values: [draft, published] }, default: draft }
      author_id:  { type: uuid, references: users.id, onDelete: cascade, index: true }
      views:      { type: int, default: 0, validate: { min: 0 } }
      tags:       { type: json, nullable: true }
      created_at: { type: timestamp, default: now }
      updated_at: { type: timestamp, default: now, onUpdate: now }
    indexes:
      - { name: idx_posts_author_date, fields: [author_id, created_at], order: desc }
    rules:
      create: "auth.id == doc.author_id"
      read: true
      update_check: false
"""


def test_the_example_of_the_contract_becomes_the_model_it_describes() -> None:
    schema = load.loads(CONTRACT)
    posts = schema.collections["posts"]
    assert schema.version == 1
    assert list(schema.collections) == ["users", "posts"]
    assert posts.key.name == "id"
    assert posts.key.default is model.AUTO
    assert posts.fields["title"] == Field("title", Type.STRING, min_length=1, max_length=200)
    assert posts.fields["body"].richtext == {"p", "br", "b", "strong", "i", "em", "a", "ul", "li"}
    assert posts.fields["author_id"].reference == Reference("users", "id", "cascade")
    assert posts.fields["views"].minimum == 0
    assert posts.fields["created_at"].default is model.NOW
    assert posts.fields["updated_at"].on_update_now
    assert posts.indexes == (model.Index("idx_posts_author_date", ("author_id", "created_at"), order="desc"),)
    assert posts.fields["title"].place == model.Place("schema.yaml", 9, 7)


def test_an_unquoted_true_is_the_rule_true_and_a_rule_knows_its_place() -> None:
    rules = load.loads(CONTRACT).collections["posts"].rules
    assert {name: rule.text for name, rule in rules.items()} == {
        "create": "auth.id == doc.author_id",
        "read": "true",
        "update_check": "false",
    }
    assert rules["create"].place == model.Place("schema.yaml", 20, 15)


def test_the_schemas_that_come_with_the_project_load() -> None:
    root = Path(__file__).parents[2]
    for path in (root / "schema.yaml", *sorted((root / "alyx/cli/templates").rglob("schema.yaml"))):
        assert isinstance(load.load(path), Schema)


@pytest.mark.parametrize(
    "name", [str(item) for item in Type if item not in (Type.FILE, Type.SELECT, Type.RELATION, Type.DECIMAL)]
)
def test_every_plain_type_loads_without_further_keys(name: str) -> None:
    assert field(f"{{ type: {name} }}").type == name


def test_a_relation_takes_key_and_type_of_its_target() -> None:
    found = field("{ type: relation, relation: { collection: users, onDelete: cascade, displayName: name } }")
    assert (found.reference, found.target_type, found.display_name) == (Reference("users", "id", "cascade"), Type.UUID, "name")
    by_name = field("{ type: relation, relation: { collection: users, field: name } }")
    assert (by_name.reference, by_name.target_type) == (Reference("users", "name"), Type.STRING)


def test_a_relation_to_a_relation_has_the_type_at_the_end_and_a_record_may_refer_to_its_own_collection() -> None:
    schema = load.loads(
        f"version: 1\ncollections:\n{USERS}"
        "  profiles:\n    fields:\n      user: { type: relation, primary: true, relation: { collection: users } }\n"
        "      boss: { type: relation, nullable: true, relation: { collection: profiles, onDelete: set null } }\n"
    )
    assert schema.collections["profiles"].fields["boss"].target_type is Type.UUID


@pytest.mark.parametrize(
    ("definition", "default"),
    [
        ("{ type: string, default: now }", "now"),
        ("{ type: string, default: auto }", "auto"),
        ("{ type: string, default: '' }", ""),
        ("{ type: string, nullable: true, default: null }", None),
        ("{ type: string, default: no }", "no"),
        ("{ type: float, default: 3 }", 3.0),
        ("{ type: decimal, scale: 2, default: 1.5 }", "1.50"),
        ("{ type: timestamp, default: 2026-03-01T08:00:00+01:00 }", "2026-03-01T07:00:00.000000Z"),
        ("{ type: json, default: { a: [1, no] } }", {"a": [1, "no"]}),
        ("{ type: select, select: { values: [a, b], maxSelect: 2 }, default: [a] }", ["a"]),
        ("{ type: bool, default: false }", False),
        ("{ type: uuid, default: 0190A1B2-0000-7000-8000-000000000000 }", "0190a1b2-0000-7000-8000-000000000000"),
    ],
)
def test_a_literal_default_is_kept_in_the_form_of_the_api(definition: str, default: object) -> None:
    found = field(definition).default
    assert found == default
    assert type(found) is type(default)


def test_now_is_the_server_s_moment_on_timestamps_and_dates() -> None:
    assert field("{ type: timestamp, default: now }").default is model.NOW
    assert field("{ type: date, default: now }").default is model.NOW


def test_limits_may_stand_on_the_field_or_under_validate() -> None:
    assert field("{ type: string, validate: { minLength: 2, maxLength: 5 } }") == field(
        "{ type: string, minLength: 2, maxLength: 5 }"
    )
    assert field("{ type: decimal, scale: 2, validate: { min: 1, max: '9.5' } }").maximum == "9.50"
    assert field("{ type: timestamp, validate: { enum: [2026-01-01T00:00:00Z] } }").enum == ("2026-01-01T00:00:00.000000Z",)


FIELD_FAULTS = [
    ("{ type: strng }", "type", "`strng` is not a type", "did you mean `string`?"),
    ("{ type: integer }", "type", "`integer` is not a type", "did you mean `int`?"),
    ("{ nullable: true }", "", "has no type", None),
    ("text", "", "must be a map such as { type: string }, not text", None),
    ("{ type: file }", "type", "file fields need the file storage, which this version does not have", None),
    ("{ type: string, minLenght: 1 }", "minLenght", "unknown key `minLenght`", "did you mean `minLength`?"),
    ("{ type: string, max_length: 1 }", "max_length", "unknown key `max_length`", "did you mean `maxLength`?"),
    ("{ type: string, nullable: yes }", "nullable", "must be true or false, not text", None),
    ("{ type: string, minLength: 5, maxLength: 3 }", "minLength", "minLength 5 is more than maxLength 3", None),
    ("{ type: string, minLength: 70000 }", "minLength", "minLength 70000 is more than maxLength 65536", "set maxLength, too"),
    ("{ type: string, maxLength: 0 }", "maxLength", "must be from 1 to 2147483647", None),
    ("{ type: string, maxLength: '5' }", "maxLength", "must be a whole number, not text", None),
    ("{ type: string, maxLength: true }", "maxLength", "must be a whole number, not true or false", None),
    (
        "{ type: string, maxLength: 5, validate: { maxLength: 5 } }",
        "validate.maxLength",
        "maxLength stands twice, here and on the field itself",
        None,
    ),
    (
        "{ type: int, minLength: 3 }",
        "minLength",
        "makes no sense for the type int",
        "it is for string, text, richtext, blob, email, url",
    ),
    (
        "{ type: string, validate: { min: 3 } }",
        "validate.min",
        "makes no sense for the type string",
        "it is for int, float, decimal",
    ),
    ("{ type: int, validate: { min: 3, max: 1 } }", "validate.min", "min 3 is more than max 1", None),
    ("{ type: int, validate: { min: 1.5 } }", "validate.min", "must be a whole number of 64 bit, not a number", None),
    ("{ type: decimal, scale: 1, validate: { min: 1.55 } }", "validate.min", "must have at most 1 decimals", None),
    ("{ type: string, validate: { minimum: 3 } }", "validate.minimum", "unknown key `minimum`", "did you mean `min`?"),
    ("{ type: string, validate: 5 }", "validate", "must be a map, not a whole number", None),
    (
        "{ type: string, validate: { format: mail } }",
        "validate.format",
        "`mail` is not one of email, url, uuid",
        "did you mean `email`?",
    ),
    (
        "{ type: int, validate: { format: email } }",
        "validate.format",
        "makes no sense for the type int",
        "it is for string, text",
    ),
    (
        "{ type: string, validate: { pattern: '(?=a)' } }",
        "validate.pattern",
        "is not a RE2 pattern: invalid perl operator: (?=",
        "patterns are RE2: no look-around, no back-references",
    ),
    ("{ type: int, validate: { enum: [1, x] } }", "validate.enum.1", "is not a value of the field: must be a whole number", None),
    ("{ type: int, validate: { enum: [1, 1] } }", "validate.enum.1", "stands twice", None),
    ("{ type: int, validate: { enum: [] } }", "validate.enum", "must be a list with at least one value", None),
    ("{ type: json, validate: { enum: [1] } }", "validate.enum", "makes no sense for the type json", None),
    ("{ type: decimal }", "", "a decimal needs `scale`, the number of its decimals (0 to 18)", "for example scale: 2"),
    ("{ type: decimal, scale: 19 }", "scale", "must be from 0 to 18", None),
    ("{ type: int, scale: 2 }", "scale", "makes no sense for the type int", "it is for decimal"),
    ("{ type: select }", "", "a select needs its values", "select: { values: [draft, published] }"),
    ("{ type: select, select: { values: [] } }", "select.values", "must not be empty", None),
    ("{ type: select, select: { values: [a, true] } }", "select.values.1", "must be text, not true or false", "put it in quotes"),
    ("{ type: select, select: { values: [a, a] } }", "select.values.1", "`a` stands twice", None),
    ("{ type: select, select: { values: [a], maxSelect: 0 } }", "select.maxSelect", "must be from 1 to 10000", None),
    ("{ type: string, select: { values: [a] } }", "select", "makes no sense for the type string", "it is for select"),
    ("{ type: select, select: { values: [a] }, default: b }", "default", "is not a value of the field: must be one of: a", None),
    (
        "{ type: richtext, richtext: { preset: bsic } }",
        "richtext.preset",
        "`bsic` is not one of minimal, basic",
        "did you mean `basic`?",
    ),
    (
        "{ type: richtext, richtext: { allow: [headin] } }",
        "richtext.allow.0",
        "`headin` is not a feature",
        "did you mean `heading`?",
    ),
    ("{ type: richtext, richtext: { deny: [script] } }", "richtext.deny.0", "`script` is not a feature or tag", None),
    ("{ type: text, richtext: { preset: basic } }", "richtext", "makes no sense for the type text", "it is for richtext"),
    ("{ type: string, default: 5 }", "default", "is not a value of the field: must be a text", "put it in quotes"),
    (
        "{ type: string, maxLength: 2, default: abc }",
        "default",
        "is not a value of the field: must have at most 2 characters",
        None,
    ),
    (
        "{ type: int, default: 1.0 }",
        "default",
        "is not a value of the field: must be a whole number, without a decimal point",
        None,
    ),
    ("{ type: int, validate: { max: 3 }, default: 4 }", "default", "is not a value of the field: must be at most 3", None),
    ("{ type: int, default: now }", "default", "is not a value of the field: must be a whole number", None),
    ("{ type: timestamp, default: 2026-01-01 }", "default", "is not a value of the field: must be a timestamp", None),
    ("{ type: int, default: null }", "default", "null is only a default of nullable fields", None),
    ("{ type: uuid, default: auto }", "default", "`auto` is for primary keys", None),
    (
        "{ type: json, default: { a: 99999999999999999999 } }",
        "default",
        "is not a value of the field: an integer is beyond 64 bit",
        None,
    ),
    ("{ type: uuid, references: usrs.id }", "references", "there is no collection `usrs`", "did you mean `users`?"),
    ("{ type: uuid, references: users.idd }", "references", "users has no field `idd`", "did you mean `id`?"),
    ("{ type: uuid, references: users }", "references", "must be `collection.field`, such as users.id", None),
    ("{ type: string, references: users.id }", "references", "has the type string, its target uuid", "write type: uuid"),
    (
        "{ type: int, references: users.age }",
        "references",
        "users.age is neither the primary key nor unique",
        "add unique: true to it",
    ),
    (
        "{ type: uuid, references: users.id, onDelete: delete }",
        "onDelete",
        "`delete` is not one of restrict, cascade, set null",
        None,
    ),
    (
        "{ type: uuid, references: users.id, onDelete: set null }",
        "onDelete",
        "`set null` needs a nullable field",
        "add nullable: true",
    ),
    ("{ type: uuid, onDelete: cascade }", "onDelete", "makes no sense without `references`", None),
    ("{ type: uuid, unchecked: true }", "unchecked", "makes no sense without `references`", None),
    ("{ type: relation }", "", "a relation needs its target", "relation: { collection: users }"),
    (
        "{ type: relation, relation: { collection: user } }",
        "relation.collection",
        "there is no collection `user`",
        "did you mean `users`?",
    ),
    (
        "{ type: relation, relation: { collection: users, field: nam } }",
        "relation.field",
        "users has no field `nam`",
        "did you mean `name`?",
    ),
    (
        "{ type: relation, relation: { collection: users, displayName: nme } }",
        "relation.displayName",
        "users has no field `nme`",
        None,
    ),
    (
        "{ type: relation, relation: { collection: users, feld: id } }",
        "relation.feld",
        "unknown key `feld`",
        "did you mean `field`?",
    ),
    ("{ type: int, onUpdate: now }", "onUpdate", "`onUpdate: now` is for timestamps that are not the key", None),
    ("{ type: timestamp, onUpdate: never }", "onUpdate", "`never` is not one of now", None),
    ("{ type: json, unique: true }", "unique", "a json field cannot have an index", None),
    (
        "{ type: string, internal: true }",
        "internal",
        "an internal field needs a default or must be nullable",
        "clients cannot give it",
    ),
    ("{ type: string, primary: true }", "primary", "a second primary key; `id` is one already", None),
    ("{ type: string, renamed_from: id }", "renamed_from", "there still is a field `id`", "remove one of the two"),
    ("{ type: string, renamed_from: f }", "renamed_from", "is the name that it has already", None),
]


@pytest.mark.parametrize(("definition", "path", "message", "hint"), FIELD_FAULTS, ids=[f"{d} {p}" for d, p, _, _ in FIELD_FAULTS])
def test_a_fault_of_a_field_names_line_path_reason_and_hint(definition: str, path: str, message: str, hint: str | None) -> None:
    found = faults_of(one_field(definition))
    whole = "collections.c.fields.f" + (f".{path}" if path else "")
    fault = next((fault for fault in found if fault.path == whole), None)
    assert fault is not None, found
    assert (fault.file, fault.line) == ("schema.yaml", 11)
    assert fault.message.startswith(message)
    assert hint is None or (fault.hint or "").startswith(hint)
    assert len(found) == 1


def collection(body: str) -> str:
    """A schema whose collection `c` has the given keys from line 4 on."""
    return "version: 1\ncollections:\n  c:\n" + indent(body, "    ")


WHOLE_FAULTS = [
    ("", 1, "", "must be a map with `version` and `collections`, not nothing"),
    ("- a", 1, "", "must be a map with `version` and `collections`, not a list"),
    ("version: 1", 1, "collections", "is missing"),
    (collection(f"fields: {{ {KEY} }}").replace("version: 1\n", "# v\n"), 2, "version", "is missing"),
    ("version: 0\ncollections: { c: { fields: { " + KEY + " } } }", 1, "version", "must be from 1 to"),
    ("version: one\ncollections: { c: { fields: { " + KEY + " } } }", 1, "version", "must be a whole number, not text"),
    ("version: 1\ncollections: {}", 2, "collections", "must be a map with at least one collection"),
    ("version: 1\ncollections: { c: }", 2, "collections.c", "must be a map with `fields`, not nothing"),
    ("version: 1\ncolections: {}", 2, "colections", "unknown key `colections`"),
    (collection(f"fields: {{ {KEY} }}\nfeilds: 1"), 5, "collections.c.feilds", "unknown key `feilds`"),
    (collection("fields: {}"), 4, "collections.c.fields", "needs `fields`, at least a primary key"),
    (collection("rules: {}"), 3, "collections.c", "needs `fields`, at least a primary key"),
    (collection("fields: { a: { type: int } }"), 3, "collections.c", "no field has `primary: true`"),
    (collection(f"fields:\n  {KEY}\n  Bad: {{ type: int }}"), 6, "collections.c.fields.Bad", "a name has only a-z, 0-9 and _"),
    (collection(f"fields:\n  {KEY}\n  _alyx: {{ type: int }}"), 6, "collections.c.fields._alyx", "a name has only a-z"),
    (
        collection(f"fields:\n  {KEY}\n  {'x' * 64}: {{ type: int }}"),
        6,
        f"collections.c.fields.{'x' * 64}",
        "a name has at most 63",
    ),
    (
        collection("fields: { id: { type: json, primary: true } }"),
        4,
        "collections.c.fields.id.type",
        "a json field cannot be the primary",
    ),
    (
        collection("fields: { id: { type: uuid, primary: true, nullable: true } }"),
        4,
        "collections.c.fields.id.nullable",
        "the primary key",
    ),
    (
        collection("fields: { id: { type: string, primary: true, default: x } }"),
        4,
        "collections.c.fields.id.default",
        "the default of a",
    ),
    (
        collection("fields: { id: { type: string, primary: true, default: auto } }"),
        4,
        "collections.c.fields.id.default",
        "`auto` makes",
    ),
    (collection(f"fields: {{ {KEY} }}\nrules: {{ raed: true }}"), 5, "collections.c.rules.raed", "unknown key `raed`"),
    (
        collection(f"fields: {{ {KEY} }}\nrules: {{ read: 5 }}"),
        5,
        "collections.c.rules.read",
        "must be a rule, not a whole number",
    ),
    (collection(f"fields: {{ {KEY} }}\nrules:\n  read:"), 6, "collections.c.rules.read", "must be a rule, not nothing"),
    (collection(f"fields: {{ {KEY} }}\nrules: true"), 5, "collections.c.rules", "must be a map of rules, not true or false"),
    (collection(f"fields: {{ {KEY} }}\nindexes: a"), 5, "collections.c.indexes", "must be a list, not text"),
    (
        collection(f"fields: {{ {KEY} }}\nindexes:\n- {{ fields: [id] }}"),
        6,
        "collections.c.indexes.0.name",
        "an index needs a name",
    ),
    (
        collection(f"fields: {{ {KEY} }}\nindexes:\n- {{ name: i }}"),
        6,
        "collections.c.indexes.0.fields",
        "an index needs its fields",
    ),
    (
        collection(f"fields: {{ {KEY} }}\nindexes:\n- {{ name: i, fields: [ix] }}"),
        6,
        "collections.c.indexes.0.fields.0",
        "there is no field",
    ),
    (
        collection(f"fields: {{ {KEY} }}\nindexes:\n- {{ name: c, fields: [id] }}"),
        6,
        "collections.c.indexes.0.name",
        "the name is taken by",
    ),
    (collection(f"fields: {{ {KEY} }}\nmode: doc"), 5, "collections.c.mode", "`doc` is not one of table, document"),
    (collection(f"fields: {{ {KEY} }}\nrenamed_from: c"), 5, "collections.c.renamed_from", "is the name that it has already"),
    (f"version: 1\nversion: 2\ncollections: {{ c: {{ fields: {{ {KEY} }} }} }}", 2, "version", "the key `version` stands twice"),
    (
        f"version: 1\ncollections: {{ sqlite_x: {{ fields: {{ {KEY} }} }} }}",
        2,
        "collections.sqlite_x",
        "the prefix `sqlite_` is reserved",
    ),
    *(
        (f"version: 1\ncollections: {{ {name}: {{ fields: {{ {KEY} }} }} }}", 2, f"collections.{name}", message)
        for name, message in (
            ("json_each", "`json_each` is a function of SQLite"),
            ("pragma_x", "the prefix `pragma_` is reserved"),
        )
    ),
]


@pytest.mark.parametrize(
    ("text", "line", "path", "message"), WHOLE_FAULTS, ids=[f"{p or 'whole'} {m}" for _, _, p, m in WHOLE_FAULTS]
)
def test_a_fault_of_the_whole_names_line_path_and_reason(text: str, line: int, path: str, message: str) -> None:
    found = faults_of(text)
    fault = next((fault for fault in found if (fault.line, fault.path) == (line, path)), None)
    assert fault is not None, [str(item) for item in found]
    assert fault.message.startswith(message)


def test_all_faults_are_reported_together_in_file_order() -> None:
    found = faults_of(
        "version: 0\ncollections:\n  a:\n    fields:\n      id: { type: uuid, primary: true, defualt: auto }\n"
        "      b: { type: uuid, references: nowhere.id }\n      b: { type: int }\n    rules: { raed: true }\n"
    )
    assert [(fault.line, fault.path) for fault in found] == [
        (1, "version"),
        (5, "collections.a.fields.id.defualt"),
        (6, "collections.a.fields.b.references"),
        (7, "collections.a.fields.b"),
        (8, "collections.a.rules.raed"),
    ]


def test_what_names_a_faulty_field_or_collection_is_not_a_second_fault() -> None:
    found = faults_of(
        "version: 1\ncollections:\n  a: 5\n  b:\n    fields:\n      id: { type: uuid, primary: true }\n      x: { type: wrong }\n"
        "      y: { type: uuid, references: a.id }\n      z: { type: string, references: b.x }\n"
        "    indexes: [{ name: i, fields: [x] }]\n"
    )
    assert [fault.path for fault in found] == ["collections.a", "collections.b.fields.x.type"]


def test_index_names_share_one_space_with_each_other_implied_ones_and_collections() -> None:
    text = (
        "version: 1\ncollections:\n"
        "  a:\n    fields:\n      id: { type: uuid, primary: true }\n      n: { type: int, index: true }\n"
        "    indexes: [{ name: idx_a_n, fields: [id] }, { name: same, fields: [n] }]\n"
        "  b:\n    fields: { id: { type: uuid, primary: true } }\n    indexes: [{ name: same, fields: [id] }]\n"
        "  uq_d_e:\n    fields: { id: { type: uuid, primary: true } }\n"
        "  d:\n    fields:\n      id: { type: uuid, primary: true }\n      e: { type: int, unique: true }\n"
    )
    assert [(fault.line, fault.path, fault.message) for fault in faults_of(text)] == [
        (7, "collections.a.indexes.0.name", "the name is taken by the index that a.n has by itself"),
        (10, "collections.b.indexes.0.name", "the name is taken by an index of a"),
        (16, "collections.d.fields.e", "its index would be named as the collection `uq_d_e`: uq_d_e"),
    ]


def test_two_fields_cannot_be_renamed_from_the_same_one() -> None:
    text = collection(f"fields:\n  {KEY}\n  a: {{ type: int, renamed_from: old }}\n  b: {{ type: int, renamed_from: old }}")
    assert [(fault.line, fault.message) for fault in faults_of(text)] == [(7, "`a` is renamed from `old`, too")]


def test_keys_of_later_issues_are_accepted_and_mentioned() -> None:
    schema = load.loads(
        "version: 1\nbuckets: { files: {} }\nfunctions: {}\ncollections:\n"
        "  c:\n    auth: true\n    mode: document\n    strict: true\n    managed: false\n"
        "    fields: { id: { type: id, primary: true } }\n"
    )
    assert load.later_keys(schema) == [
        "`buckets` has no effect in this version of Alyx",
        "`auth: true` of collections.c has no effect in this version of Alyx",
        "`mode: document` of collections.c has no effect in this version of Alyx",
        "`strict: true` of collections.c has no effect in this version of Alyx",
        "`managed: false` of collections.c has no effect in this version of Alyx",
    ]
    assert load.later_keys(load.loads(CONTRACT)) == []


def test_sql_keywords_are_fine_as_names() -> None:
    schema = load.loads(
        "version: 1\ncollections:\n  select:\n    fields: { order: { type: int, primary: true, default: auto } }\n"
    )
    assert schema.collections["select"].key.name == "order"


def test_a_missing_file_is_a_fault_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.yaml: cannot be read"):
        load.load(tmp_path / "none.yaml")
