"""What bodies become: the API's form of each type, and the code of each fault."""

from __future__ import annotations

import json
from typing import Any

import pytest

from alyx.base.errors import AlyxError
from alyx.schema import load
from alyx.schema.readers import from_text
from alyx.schema.values import Increment, Validator

SCHEMA = load.loads("""\
version: 1
collections:
  users:
    fields:
      id: { type: uuid, primary: true, default: auto }
  all:
    fields:
      id:      { type: id, primary: true, default: auto }
      need:    { type: string, minLength: 2, maxLength: 4 }
      uuid:    { type: uuid, nullable: true }
      text:    { type: text, nullable: true, validate: { pattern: "^a+$" } }
      rich:    { type: richtext, nullable: true, maxLength: 60, richtext: { preset: basic } }
      int:     { type: int, nullable: true, validate: { min: -5 } }
      big:     { type: int, nullable: true }
      float:   { type: float, nullable: true, validate: { max: 10 } }
      bool:    { type: bool, nullable: true }
      at:      { type: timestamp, nullable: true }
      on:      { type: date, nullable: true }
      json:    { type: json, nullable: true }
      data:    { type: json, default: {} }
      blob:    { type: blob, nullable: true, maxLength: 4 }
      email:   { type: email, nullable: true }
      url:     { type: url, nullable: true }
      one:     { type: select, nullable: true, select: { values: [a, b] } }
      many:    { type: select, nullable: true, select: { values: [a, b, c], maxSelect: 2 } }
      who:     { type: relation, nullable: true, relation: { collection: users } }
      price:   { type: decimal, scale: 2, nullable: true, validate: { min: "-100.00" } }
      whole:   { type: decimal, scale: 0, nullable: true }
      level:   { type: int, nullable: true, validate: { enum: [1, 2] } }
      mail:    { type: string, nullable: true, validate: { format: email } }
      counted: { type: int, default: 0 }
      secret:  { type: string, nullable: true, internal: true }
      touched: { type: timestamp, onUpdate: now }
""")
ALL = SCHEMA.collections["all"]
CHECK = Validator(ALL)
UUID = "0190a1b2-0000-7000-8000-00000000000a"


def body(**fields: Any) -> bytes:
    return json.dumps({"need": "abc", **fields}, ensure_ascii=False).encode("utf-8", "surrogatepass")


def raw(fields: str) -> bytes:
    return b'{"need":"abc",' + fields.encode() + b"}"


def codes(data: bytes, call: str = "create") -> list[tuple[str, str]]:
    with pytest.raises(AlyxError) as caught:
        getattr(CHECK, call)(data)
    assert caught.value.code == "VALIDATION_ERROR"
    return [(detail.field, detail.code) for detail in caught.value.details]


TAKEN = [
    ("need", "äö😀é", "äö😀é"),
    ("need", 'a"b', 'a"b'),
    ("need", "a\\b", "a\\b"),
    ("id", "Abcdefghijklm09", "Abcdefghijklm09"),
    ("uuid", UUID.upper(), UUID),
    ("who", UUID.upper(), UUID),
    ("text", "aaa", "aaa"),
    ("rich", "<b onclick='x'>hi</b><script>no</script><h1>t</h1>", "<b>hi</b>t"),
    ("int", -5, -5),
    ("big", 2**63 - 1, 2**63 - 1),
    ("big", -(2**63), -(2**63)),
    ("float", 3, 3.0),
    ("float", -0.5, -0.5),
    ("float", -(10**20), -1e20),
    ("bool", False, False),
    ("at", "2026-03-01T08:00:00Z", "2026-03-01T08:00:00.000000Z"),
    ("at", "2026-03-01t08:00:00.5z", "2026-03-01T08:00:00.500000Z"),
    ("at", "2026-03-01T08:00:00.123456789+02:30", "2026-03-01T05:30:00.123456Z"),
    ("at", "0001-01-01T00:00:00-23:59", "0001-01-01T23:59:00.000000Z"),
    ("on", "2024-02-29", "2024-02-29"),
    ("json", {"a": [1, "x", None, {"b": 1.5}]}, {"a": [1, "x", None, {"b": 1.5}]}),
    ("json", "text", "text"),
    ("data", False, False),
    ("blob", "AAEC", "AAEC"),
    ("blob", "AA==", "AA=="),
    ("blob", "", ""),
    ("email", "Some.One+tag@Example.org", "Some.One+tag@Example.org"),
    ("url", "https://example.org/a?b=c#d", "https://example.org/a?b=c#d"),
    ("url", "HTTP://user@bücher.example:8080", "HTTP://user@bücher.example:8080"),
    ("url", "http://[::1]/", "http://[::1]/"),
    ("one", "b", "b"),
    ("many", ["c", "a"], ["c", "a"]),
    ("many", [], []),
    ("price", "12.5", "12.50"),
    ("price", "-0", "0.00"),
    ("price", "-0.00", "0.00"),
    ("price", "007.100", "7.10"),
    ("price", 3, "3.00"),
    ("price", 0.1, "0.10"),
    ("price", 1e3, "1000.00"),
    ("price", "92233720368547758.07", "92233720368547758.07"),
    ("whole", "-7", "-7"),
    ("level", 2, 2),
    ("mail", "a@b", "a@b"),
    ("touched", "2026-03-01T08:00:00Z", "2026-03-01T08:00:00.000000Z"),
    ("int", None, None),
]


@pytest.mark.parametrize(("name", "given", "kept"), TAKEN)
def test_a_good_value_comes_out_in_the_form_of_the_api(name: str, given: Any, kept: Any) -> None:
    for call in (CHECK.create, CHECK.patch, CHECK.replace):
        found = call(body(**{name: given}))[name]
        assert found == kept
        assert type(found) is type(kept)


REFUSED = [
    ('"need":"a"', "need", "min_length"),
    ('"need":"abcde"', "need", "max_length"),
    ('"need":null', "need", "required"),
    ('"need":5', "need", "invalid_type"),
    ('"need":"a\\u0000b"', "need", "invalid_type"),
    ('"need":"a\\ud800"', "need", "invalid_type"),
    ('"id":"short"', "id", "invalid_id"),
    ('"id":"abcdefghijklm-9"', "id", "invalid_id"),
    ('"uuid":"0190a1b200007000800000000000000a"', "uuid", "invalid_uuid"),
    ('"uuid":"{0190a1b2-0000-7000-8000-00000000000a}"', "uuid", "invalid_uuid"),
    ('"uuid":7', "uuid", "invalid_type"),
    ('"who":"x"', "who", "invalid_uuid"),
    ('"text":"b"', "text", "pattern"),
    ('"rich":"' + "x" * 61 + '"', "rich", "max_length"),
    ('"rich":"' + "&" * 20 + '"', "rich", "max_length"),
    ('"int":-6', "int", "min_value"),
    ('"int":3.0', "int", "invalid_type"),
    ('"int":"3"', "int", "invalid_type"),
    ('"int":true', "int", "invalid_type"),
    ('"big":9223372036854775808', "big", "max_value"),
    ('"big":-9223372036854775809', "big", "min_value"),
    ('"float":10.5', "float", "max_value"),
    ('"float":1' + "0" * 309, "float", "max_value"),
    ('"float":"1"', "float", "invalid_type"),
    ('"float":false', "float", "invalid_type"),
    ('"bool":1', "bool", "invalid_type"),
    ('"bool":"true"', "bool", "invalid_type"),
    ('"at":"2026-03-01T08:00:00"', "at", "invalid_timestamp"),
    ('"at":"2026-03-01 08:00:00Z"', "at", "invalid_timestamp"),
    ('"at":"2026-03-01"', "at", "invalid_timestamp"),
    ('"at":"2026-02-29T00:00:00Z"', "at", "invalid_timestamp"),
    ('"at":"2026-03-01T24:00:00Z"', "at", "invalid_timestamp"),
    ('"at":"2026-03-01T23:59:60Z"', "at", "invalid_timestamp"),
    ('"at":"0000-01-01T00:00:00Z"', "at", "invalid_timestamp"),
    ('"at":"0001-01-01T00:00:00+01:00"', "at", "invalid_timestamp"),
    ('"at":"9999-12-31T23:59:59-01:00"', "at", "invalid_timestamp"),
    ('"at":"10000-01-01T00:00:00Z"', "at", "invalid_timestamp"),
    ('"at":"2026-03-01T08:00:00.1234567890Z"', "at", "invalid_timestamp"),
    ('"at":"2026-03-01T08:00:00+24:00"', "at", "invalid_timestamp"),
    ('"at":"٢٠٢٦-03-01T08:00:00Z"', "at", "invalid_timestamp"),
    ('"at":1772352000', "at", "invalid_type"),
    ('"on":"2026-2-1"', "on", "invalid_date"),
    ('"on":"2026-02-30"', "on", "invalid_date"),
    ('"json":{"a":"\\u0000"}', "json", "invalid_type"),
    ('"json":{"\\u0000":1}', "json", "invalid_type"),
    ('"json":["\\udfff"]', "json", "invalid_type"),
    ('"data":null', "data", "required"),
    ('"blob":"AA="', "blob", "invalid_type"),
    ('"blob":"AB=="', "blob", "invalid_type"),
    ('"blob":"_w=="', "blob", "invalid_type"),
    ('"blob":"AA==\\n"', "blob", "invalid_type"),
    ('"blob":"AAECAwQ="', "blob", "max_length"),
    ('"email":"nobody"', "email", "invalid_email"),
    ('"email":"a b@example.org"', "email", "invalid_email"),
    ('"email":"' + "x" * 65 + '@example.org"', "email", "invalid_email"),
    ('"email":"a@-b.org"', "email", "invalid_email"),
    ('"url":"example.org"', "url", "invalid_url"),
    ('"url":"javascript:alert(1)"', "url", "invalid_url"),
    ('"url":"https://"', "url", "invalid_url"),
    ('"url":"https://a b"', "url", "invalid_url"),
    ('"url":"https://a:99999"', "url", "invalid_url"),
    ('"one":"z"', "one", "invalid_select"),
    ('"one":["a"]', "one", "invalid_type"),
    ('"many":"a"', "many", "invalid_type"),
    ('"many":["a","z"]', "many", "invalid_select"),
    ('"many":["a","a"]', "many", "invalid_select"),
    ('"many":["a","b","c"]', "many", "max_select"),
    ('"many":[null]', "many", "invalid_type"),
    ('"price":"1.234"', "price", "invalid_type"),
    ('"price":"1e2"', "price", "invalid_type"),
    ('"price":"+1"', "price", "invalid_type"),
    ('"price":""', "price", "invalid_type"),
    ('"price":true', "price", "invalid_type"),
    ('"price":0.12345678901234567', "price", "invalid_type"),
    ('"price":"-100.01"', "price", "min_value"),
    ('"price":"92233720368547758.08"', "price", "max_value"),
    ('"price":99999999999999999999999', "price", "max_value"),
    ('"level":3', "level", "enum"),
    ('"mail":"x"', "mail", "invalid_email"),
    ('"secret":"x"', "secret", "unknown_field"),
    ('"nope":1', "nope", "unknown_field"),
    ('"int":{"$inc":"1"}', "int", "invalid_type"),
    ('"int":{"$inc":1.5}', "int", "invalid_type"),
    ('"int":{"$inc":1,"x":1}', "int", "invalid_type"),
    ('"bool":{"$inc":1}', "bool", "invalid_type"),
]


@pytest.mark.parametrize(("fields", "name", "code"), REFUSED)
def test_a_bad_value_is_refused_with_its_field_and_code(fields: str, name: str, code: str) -> None:
    given = fields.encode() if name == "need" else b'"need":"abc",' + fields.encode()
    for call in ("create", "patch", "replace"):
        assert codes(b"{" + given + b"}", call) == [(name, code)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"need":"abc","need":"abd"}',
        b'{"need":"abc","n\\u0065ed":"abd"}',
        b'{"need":"abc","json":{"a":1,"a":2}}',
        b'{"need":"abc","json":[{"a":"x","a":"y"}]}',
        b'{"need":"abc","json":99999999999999999999}',
        b'{"need":"abc","json":{"a":[99999999999999999999]}}',
        b'{"need":"abc","float":NaN}',
        b'{"need":"abc","float":1e999}',
        b'{"need":"abc","float":-Infinity}',
        b'{"need":"\xff"}',
        b'{"need":"abc"} x',
        b'\xef\xbb\xbf{"need":"abc"}',
        b'{"need":"a\nc"}',
        b'{"need":"abc","json":' + b"[" * 32 + b"]" * 32 + b"}",
        b'{"need":"abc","json":' + b"[" * 200_000,
        b'{"need":"abc","x":' + b'{"a":' * 200_000,
    ],
    ids=lambda data: repr(data[:40]),
)
def test_what_is_not_strict_json_is_invalid_json(data: bytes) -> None:
    for call in (CHECK.create, CHECK.patch, CHECK.replace, lambda text: CHECK.create_many(b"[1," + text + b"]", 10)):
        with pytest.raises(AlyxError) as caught:
            call(data)
        assert caught.value.code == "INVALID_JSON"


def test_nesting_up_to_the_limit_is_taken() -> None:
    inner = b"[" * 31 + b"]" * 31
    assert "json" in CHECK.create(b'{"need":"abc","json":' + inner + b"}")
    assert "json" in CHECK.create(b'{"need":"abc","json":"' + b"[" * 100 + b'"}')


def test_all_faults_are_reported_at_once() -> None:
    data = b'{"need":"a","int":-9,"nope":1,"at":"x","many":["a","a","z"],"id":null}'
    assert codes(data) == [
        ("need", "min_length"),
        ("int", "min_value"),
        ("nope", "unknown_field"),
        ("at", "invalid_timestamp"),
        ("many", "max_select"),
        ("many", "invalid_select"),
        ("id", "required"),
    ]


def test_a_value_can_have_several_faults() -> None:
    schema = load.loads(
        "version: 1\ncollections: { c: { fields: { id: { type: int, primary: true, default: auto },"
        " s: { type: string, minLength: 3, validate: { pattern: '^b', enum: [bcd] } } } } }"
    )
    with pytest.raises(AlyxError) as caught:
        Validator(schema.collections["c"]).create(b'{"s":"a"}')
    assert [detail.code for detail in caught.value.details] == ["min_length", "pattern", "enum"]


def test_missing_fields_are_required_on_create_and_replace_unless_the_server_can_fill_them() -> None:
    assert codes(b"{}") == [("need", "required")]
    assert codes(b"{}", "replace") == [("need", "required")]
    assert CHECK.patch(b"{}") == {}
    keyed = load.loads("version: 1\ncollections: { c: { fields: { k: { type: string, primary: true }, a: { type: int } } } }")
    check = Validator(keyed.collections["c"])
    with pytest.raises(AlyxError) as caught:
        check.create(b"{}")
    assert [(detail.field, detail.code) for detail in caught.value.details] == [("k", "required"), ("a", "required")]
    assert check.replace(b'{"a":1}') == {"a": 1}


@pytest.mark.parametrize("data", [b"[]", b'"x"', b"5", b"null", b"true"])
def test_a_record_must_be_an_object(data: bytes) -> None:
    assert codes(data) == [("", "invalid_type")]


def test_an_increment_is_a_patch_of_a_number() -> None:
    patch = CHECK.patch(b'{"int":{"$inc":-2},"float":{"$inc":1},"price":{"$inc":"0.5"},"json":{"$inc":1}}')
    assert patch == {"int": Increment(-2), "float": Increment(1.0), "price": Increment("0.50"), "json": {"$inc": 1}}
    assert codes(raw('"int":{"$inc":99999999999999999999}'), "patch") == [("int", "max_value")]
    assert codes(raw('"int":{"$inc":1}'), "create") == [("int", "invalid_type")]
    assert codes(raw('"int":{"$inc":1}'), "replace") == [("int", "invalid_type")]


def test_many_records_are_taken_or_refused_together_with_their_number() -> None:
    assert CHECK.create_many(b' [{"need":"abc"},{"need":"abd","int":1}]', 10) == [{"need": "abc"}, {"need": "abd", "int": 1}]
    assert CHECK.create_many(b'{"need":"abc"}', 10) == {"need": "abc"}
    with pytest.raises(AlyxError) as caught:
        CHECK.create_many(b'[{"need":"abc"},{"need":"a"},7,{"nope":1}]', 10)
    assert [(detail.field, detail.code) for detail in caught.value.details] == [
        ("1.need", "min_length"),
        ("2", "invalid_type"),
        ("3.nope", "unknown_field"),
        ("3.need", "required"),
    ]
    with pytest.raises(AlyxError) as caught:
        CHECK.create_many(b'[{"need":"abc"},{"need":"abc"}]', 1)
    assert caught.value.code == "VALIDATION_ERROR"


def test_parsed_json_is_judged_like_text() -> None:
    assert CHECK.check_create({"need": "abc", "price": 1}) == {"need": "abc", "price": "1.00"}
    assert CHECK.check_patch({"int": {"$inc": 1}}) == {"int": Increment(1)}
    with pytest.raises(AlyxError):
        CHECK.check_replace({"need": "a"})


def test_a_body_of_nothing_but_unknown_fields_is_answered_fast_and_bounded() -> None:
    data = json.dumps({f"x{number}": 1 for number in range(50_000)}).encode()
    with pytest.raises(AlyxError) as caught:
        CHECK.create(data)
    assert len(caught.value.details) == 1000


def test_the_nearest_field_is_named_but_never_an_internal_one() -> None:
    with pytest.raises(AlyxError) as caught:
        CHECK.create(raw('"nedd":1,"secrt":1'))
    assert [detail.message for detail in caught.value.details] == ["is not a field; did you mean need?", "is not a field"]


def test_a_field_may_be_named_like_a_word_of_python() -> None:
    schema = load.loads(
        "version: 1\ncollections: { c: { fields: { id: { type: int, primary: true, default: auto }, class: { type: string },"
        " def: { type: int, nullable: true } } } }"
    )
    assert Validator(schema.collections["c"]).create(b'{"class":"x","def":1}') == {"class": "x", "def": 1}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("need", "", ""),
        ("need", "longer than the field takes", "longer than the field takes"),
        ("int", "-9", -9),
        ("float", "1e3", 1000.0),
        ("bool", "true", True),
        ("uuid", UUID.upper(), UUID),
        ("who", UUID.upper(), UUID),
        ("id", "Abcdefghijklm09", "Abcdefghijklm09"),
        ("at", "2026-03-01T08:00:00.5+01:00", "2026-03-01T07:00:00.500000Z"),
        ("on", "2026-03-01", "2026-03-01"),
        ("price", "1.5", "1.50"),
        ("json", '{"a":[1]}', {"a": [1]}),
        ("many", '["a"]', ["a"]),
        ("one", "zz", "zz"),
        ("email", "par", "par"),
        ("blob", "AAEC", "AAEC"),
    ],
)
def test_text_of_a_filter_or_csv_is_read_by_the_type_alone(name: str, text: str, value: Any) -> None:
    found = from_text(ALL.fields[name], text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("int", "1.0"),
        ("int", ""),
        ("int", "９"),
        ("int", "9223372036854775808"),
        ("float", "nan"),
        ("float", "inf"),
        ("float", "1e999"),
        ("float", "1_0"),
        ("bool", "True"),
        ("bool", "1"),
        ("uuid", "x"),
        ("id", "x"),
        ("at", "2026-03-01T08:00:00.1234567Z"),
        ("at", "2026-03-01"),
        ("on", "2026-13-01"),
        ("price", "1.234"),
        ("json", "{"),
        ("json", '{"a":1,"a":2}'),
        ("json", '"\\u0000"'),
        ("many", "a"),
        ("need", "a\0b"),
        ("need", "\ud800"),
        ("blob", "??"),
    ],
)
def test_text_that_is_not_of_the_type_is_refused(name: str, text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        from_text(ALL.fields[name], text)
