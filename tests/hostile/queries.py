"""Hostile questions: filters, sorts, pages, cursors, fields, expands, searches and conditions of a list."""

from __future__ import annotations

import base64
import json

from tests.hostile.words import ONE, THINGS, Hostile, ask, fine, get

_INJECTIONS = {
    "or 1=1": "' OR '1'='1",
    "a union": "x' UNION SELECT * FROM _alyx_meta --",
    "a drop": "'; DROP TABLE things; --",
    "double quotes": '" OR ""="',
    "a comment": "x'/*",
    "a backslash": "\\' OR 1=1 --",
    "a semicolon": "x; ATTACH DATABASE '/tmp/x' AS y",
    "a bind mark": ":key ? ?1 @x $1",
    "a format mark": "%s %(key)s {0} {key}",
}
_NAMES = {
    "a quote": 'title"',
    "a union": 'title" UNION SELECT 1 --',
    "a function": "load_extension('x')",
    "rowid": "rowid",
    "a star": "*",
    "a table and a column": "things.title",
    "a table of the server": "_alyx_meta.value",
    "an internal field": "secret",
    "an internal field through a relation": "owner_id.pin",
    "an attribute of Python": "__class__",
    "a name in capitals": "TITLE",
    "a name with blanks": " ",
    "nothing": "",
    "two relations": "owner_id.name.x",
    "a Cyrillic letter": "tіtle",
    "a JSON path with a quote": "meta.a'b",
    "a JSON path with a bracket": "meta.a[0]",
    "a JSON path with $": "meta.$",
    "an empty JSON path": "meta.",
    "a JSON path in a text": "title.a",
}

FILTERS = [
    *(fine(f"{name} as a value", "filter", f"title:eq:{text}") for name, text in _INJECTIONS.items()),
    *(fine(f"{name} in like", "filter", f"title:like:{text}") for name, text in _INJECTIONS.items()),
    *(ask(f"{name} as a field", "filter", f"{text}:eq:1") for name, text in _NAMES.items()),
    fine("colons in the value", "filter", "title:eq:a:b:c"),
    fine("an empty value", "filter", "title:eq:"),
    fine("only wildcards", "filter", "title:like:" + "%_" * 100),
    fine("a trailing escape", "filter", "title:like:a\\"),
    fine("text of right to left", "filter", "title:contains:\u202e\u2066abc"),
    fine("a JSON key that looks like Python", "filter", "meta.__class__:eq:x"),
    ask("no colon", "filter", "title"),
    ask("one colon", "filter", "title:eq"),
    ask("nothing", "filter", ""),
    ask("only colons", "filter", ":::"),
    ask("an unknown operator", "filter", "title:regex:.*"),
    ask("an operator in capitals", "filter", "title:EQ:x"),
    ask("an operator with SQL", "filter", "title:= '' OR 1=1 --:x"),
    ask("an operator of Python", "filter", "title:__eq__:x"),
    ask("a value for is_null", "filter", "title:is_null:true"),
    ask("text for an int", "filter", "count:eq:abc"),
    ask("2^63 for an int", "filter", "count:eq:9223372036854775808"),
    ask("5,000 digits for an int", "filter", "count:eq:" + "9" * 1900),
    ask("a hexadecimal int", "filter", "count:eq:0x10"),
    ask("an underscore in an int", "filter", "count:eq:1_000"),
    ask("Arabic digits", "filter", "count:eq:١٢٣"),
    ask("nan for a float", "filter", "ratio:eq:nan"),
    ask("infinity for a float", "filter", "ratio:gt:inf"),
    ask("1e999 for a float", "filter", "ratio:gt:1e999"),
    ask("words for a decimal", "filter", "price:eq:ten"),
    ask("yes for a bool", "filter", "done:eq:yes"),
    ask("text for a timestamp", "filter", "at:gt:now"),
    ask("a timestamp without offset", "filter", "at:gt:2026-03-01T00:00:00"),
    ask("a half uuid", "filter", "id:eq:018f"),
    ask("one bad uuid of several", "filter", "id:in:018f2b6e-0000-7c52-9d0e-000000000002,x"),
    ask("like on an int", "filter", "count:like:1%"),
    ask("contains on a bool", "filter", "done:contains:t"),
    ask("a needle of 257 bytes", "filter", "title:contains:" + "x" * 257),
    ask("a pattern of 2 kB", "filter", "title:like:" + "%a" * 1000),
    ask("a filter over 2 kB", "filter", "title:eq:" + "x" * 2100),
    ask("a filter over 2 kB in emoji", "filter", "title:eq:" + "\U0001f600" * 600),
    ask("a json field as a whole", "filter", "meta:eq:1"),
    ask("NUL in the value", "filter", "title:eq:a\x00b"),
    get("filter: bytes that are no UTF-8", f"{THINGS}?filter=title:eq:%ff%fe", 400, "INVALID_QUERY"),
    get("filter: a surrogate in UTF-8", f"{THINGS}?filter=title:eq:%ed%a0%80", 400, "INVALID_QUERY"),
    get("filter: an overlong quote", f"{THINGS}?filter=title:eq:%c0%a7", 400, "INVALID_QUERY"),
    get("filter: a broken escape", f"{THINGS}?filter=title:eq:%zz", 200, None),
    get("filter: 50 of them", f"{THINGS}?" + "&".join(["filter=count:gte:0"] * 50), 200, None),
    get(
        "filter: 1,000 of them",
        f"{THINGS}?" + "&".join(["filter=done:ne:1"] * 1000),
        400,
        "INVALID_QUERY",
        more=("URI_TOO_LONG",),
    ),
    get("filter: 850 of them", f"{THINGS}?" + "&".join(["filter=count:gt:1"] * 850), 400, "INVALID_QUERY"),
    get("filter: 600 into JSON", f"{THINGS}?" + "&".join(["filter=meta.a:ne:1"] * 600), 400, "INVALID_QUERY"),
    get("filter: 600 through a relation", f"{THINGS}?" + "&".join(["filter=owner_id.name:ne:1"] * 600), 400, "INVALID_QUERY"),
    get("filter: by brackets", f"{THINGS}?filter[title]=x", 400, "INVALID_QUERY"),
]

ORDERS = [
    *(ask(f"{name} as a field", "sort", text) for name, text in _NAMES.items() if text.strip()),
    ask("only a minus", "sort", "-"),
    ask("two minuses", "sort", "--title"),
    ask("only commas", "sort", ",,,"),
    ask("a direction in words", "sort", "title desc"),
    ask("a CASE", "sort", "CASE WHEN 1=1 THEN title ELSE id END"),
    ask("a json field as a whole", "sort", "meta"),
    ask("a blob", "sort", "data"),
    ask("a hundred keys", "sort", ",".join(f"meta.k{index}" for index in range(100))),
    fine("nulls first and last", "sort", "-ratio,at"),
]

PAGES = [
    ask("negative", "limit", "-1"),
    ask("a word", "limit", "all"),
    ask("a fraction", "limit", "1.5"),
    ask("with SQL", "limit", "1; DROP TABLE things"),
    ask("an exponent", "limit", "1e3"),
    ask("in Arabic digits", "limit", "١٠"),
    ask("with a blank", "limit", "1 0"),
    fine("beyond the cap", "limit", "999999"),
    ask("5,000 digits", "limit", "9" * 5000),
    ask("negative", "offset", "-1"),
    ask("a word", "offset", "x"),
    fine("2^53 - 1", "offset", "9007199254740991"),
    ask("2^64", "offset", "18446744073709551616"),
    ask("0", "page", "0"),
    ask("0", "perPage", "0"),
    fine("9 digits", "page", "999999999"),
    get("page and offset together", f"{THINGS}?page=1&offset=1", 400, "INVALID_QUERY"),
    get("the same parameter twice", f"{THINGS}?limit=1&limit=2", 400, "INVALID_QUERY"),
    get("an unknown parameter", f"{THINGS}?select=*", 400, "INVALID_QUERY"),
    get("a parameter in capitals", f"{THINGS}?LIMIT=1", 400, "INVALID_QUERY"),
    get("a parameter without a name", f"{THINGS}?=1", 400, "INVALID_QUERY"),
    get("__proto__ as a parameter", f"{THINGS}?__proto__[admin]=1", 400, "INVALID_QUERY"),
    get("as_admin as a parameter", f"{THINGS}?as_admin=true", 400, "INVALID_QUERY"),
    get("only ampersands", f"{THINGS}?&&&", 200, None),
    get("a list with upsert", f"{THINGS}?upsert=true", 400, "INVALID_QUERY"),
    get("a record with a filter", f"{ONE}?filter=title:eq:x", 400, "INVALID_QUERY"),
    ask("a word", "count", "maybe"),
    ask("nothing", "count", ""),
]


def _cursor(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


CURSORS = [
    ask("a word", "cursor", "next"),
    ask("no base64", "cursor", "!!!"),
    ask("not ASCII", "cursor", "é"),
    ask("an empty list", "cursor", _cursor([])),
    ask("null", "cursor", _cursor(None)),
    ask("a number", "cursor", _cursor(5)),
    ask("an object", "cursor", _cursor({"a": 1})),
    ask("another order's", "cursor", _cursor(["000000000000", "x"])),
    ask("deep", "cursor", base64.urlsafe_b64encode(b"[" * 3000).decode()),
    ask("a pickle", "cursor", base64.urlsafe_b64encode(b"\x80\x04\x95\x00.").decode()),
    ask("8 kB", "cursor", "A" * 8000),
    get("cursor: with offset", f"{THINGS}?cursor=x&offset=1", 400, "INVALID_QUERY"),
]

FIELDS = [
    *(ask(f"{name}", "fields", text) for name, text in _NAMES.items() if name not in ("nothing",)),
    ask("nothing", "fields", ""),
    ask("a comma too many", "fields", "title,"),
    ask("count(*)", "fields", "count(*)"),
    fine("the same field 200 times", "fields", ",".join(["title"] * 200)),
]

EXPANDS = [
    ask("a field that is no relation", "expand", "title"),
    ask("an unknown field", "expand", "nope"),
    ask("an internal field", "expand", "secret"),
    ask("four deep", "expand", "owner_id.things(owner_id).owner_id.things(owner_id)"),
    ask("a collection that does not point here", "expand", "select(id)"),
    ask("a table of the server", "expand", "_alyx_changes(doc_id)"),
    ask("an unclosed bracket", "expand", "things(owner_id"),
    ask("an injection", "expand", "owner_id;DROP TABLE users"),
    ask("only dots", "expand", "..."),
    ask("only commas", "expand", ",,"),
    ask("three hundred relations", "expand", ",".join(["owner_id.things(owner_id)"] * 300)),
    fine("the same relation five times", "expand", ",".join(["owner_id"] * 5)),
]

SEARCHES = [
    *(fine(name, "search", text) for name, text in _INJECTIONS.items()),
    fine("wildcards", "search", "%%%___"),
    fine("an emoji", "search", "\U0001f600"),
    ask("257 bytes", "search", "x" * 257),
    ask("NUL", "search", "a\x00"),
]

WHERES = [
    fine("an injection in a string", "where", 'doc.title == "\' OR 1=1 --"'),
    ask("SQL", "where", "1=1 OR title IS NOT NULL"),
    ask("a half condition", "where", "doc.title =="),
    ask("an unclosed bracket", "where", "((((("),
    ask("an unclosed string", "where", "doc.title == 'x"),
    ask("a semicolon", "where", "true; true"),
    ask("no bool", "where", "doc.title"),
    ask("a number", "where", "1"),
    ask("an unknown field", "where", "doc.nope == 1"),
    ask("an internal field", "where", "doc.secret == 'x'"),
    ask("an internal field by has", "where", "has(doc.secret)"),
    ask("another collection", "where", "collections.closed.exists(c, c.word == 'x')"),
    ask("the request", "where", "request.ip == '127.0.0.1'"),
    ask("an unknown function", "where", "system('id') == ''"),
    ask("Python", "where", "__import__('os').system('id')"),
    ask("a type that does not fit", "where", "doc.title == 1"),
    ask("a field and a bool", "where", "doc.count && true"),
    ask("more than 1 kB", "where", "doc.title == '" + "x" * 1100 + "'"),
    ask("more than 50 nodes", "where", " || ".join(["doc.count == 1"] * 30)),
    ask("300 brackets", "where", "(" * 300 + "true" + ")" * 300),
    ask("400 negations", "where", "!" * 400 + "true"),
    ask("a lone backslash", "where", "\\"),
    ask("a control character", "where", "doc.title == 'a\x01' @"),
    ask("2^64", "where", "doc.count == 18446744073709551616"),
    fine("a division by zero", "where", "1 / doc.count == 1"),
    fine("an overflow", "where", "doc.count + 9223372036854775807 > 0"),
    fine("a missing JSON key", "where", "doc.meta.a.b.c == 1"),
    fine("null identity", "where", "auth.id == doc.owner_id"),
    ask("a regular expression that blows up elsewhere", "where", "doc.title.matches('(a+)+$" + "x" * 1000 + "')"),
]

TABLE: list[Hostile] = [
    *(*FILTERS, *ORDERS, *PAGES, *CURSORS),
    *(*FIELDS, *EXPANDS, *SEARCHES, *WHERES),
]
