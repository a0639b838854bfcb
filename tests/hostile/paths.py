"""Hostile heads: paths, ids, methods, content types, tokens and other headers."""

from __future__ import annotations

import base64
import json

from tests.hostile.words import ABSENT, FROZEN, HIDDEN, ONE, THING, THINGS, USER, Hostile, get, send

_COLLECTIONS = "/api/collections"
_JSON = ("content-type", "application/json")


def _thing(name: str, key: str) -> Hostile:
    return get(f"id: {name}", f"{THINGS}/{key}", 404, "DOCUMENT_NOT_FOUND")


PATHS = [
    get("an unknown route", "/nope"),
    get("the folder above", "/../../etc/passwd"),
    get("the folder above, escaped", "/api/collections/..%2f..%2fetc%2fpasswd", 404, "COLLECTION_NOT_FOUND"),
    get("the folder above, escaped twice", "/api/collections/%252e%252e", 404, "COLLECTION_NOT_FOUND"),
    get("the folder above as a record", f"{THINGS}/..%2f..%2falyx.yaml", 404, "DOCUMENT_NOT_FOUND"),
    get("backslashes", "/api/collections/..\\..\\x", 404, "COLLECTION_NOT_FOUND"),
    get("the database", "/data/alyx.db"),
    get("the settings", "/alyx.yaml"),
    get("a file beside the docs", "/docs/../docs.py"),
    get("a file beside the docs, escaped", "/docs/..%2fdocs.py"),
    get("a double slash", "//api/collections/things"),
    get("a slash at the end", f"{THINGS}/"),
    get("a segment too many", f"{ONE}/title"),
    get("no collection", _COLLECTIONS),
    get("an empty collection", f"{_COLLECTIONS}/"),
    get("an unknown collection", f"{_COLLECTIONS}/nope", 404, "COLLECTION_NOT_FOUND"),
    get("a collection in capitals", f"{_COLLECTIONS}/THINGS", 404, "COLLECTION_NOT_FOUND"),
    get("a table of the server", f"{_COLLECTIONS}/_alyx_meta", 404, "COLLECTION_NOT_FOUND"),
    get("sqlite_schema", f"{_COLLECTIONS}/sqlite_schema", 404, "COLLECTION_NOT_FOUND"),
    get("an injection as a collection", f"{_COLLECTIONS}/things%22%3B%20DROP%20TABLE%20things", 404, "COLLECTION_NOT_FOUND"),
    get("__proto__ as a collection", f"{_COLLECTIONS}/__proto__", 404, "COLLECTION_NOT_FOUND"),
    get("__class__ as a collection", f"{_COLLECTIONS}/__class__", 404, "COLLECTION_NOT_FOUND"),
    get("a collection of 4 kB", f"{_COLLECTIONS}/{'a' * 4000}", 404, "COLLECTION_NOT_FOUND"),
    get("NUL in the path", f"{_COLLECTIONS}/things%00", 404, "NOT_FOUND", more=("COLLECTION_NOT_FOUND", "BAD_REQUEST")),
    get("bytes that are no UTF-8 in the path", f"{_COLLECTIONS}/%ff%fe", 404, "NOT_FOUND", more=("COLLECTION_NOT_FOUND",)),
    get("a line end in the path", f"{_COLLECTIONS}/things%0d%0aX:%20y", 404, "COLLECTION_NOT_FOUND"),
    get("a closed collection", f"{_COLLECTIONS}/closed", 403, "FORBIDDEN"),
    get("a record of a closed collection", f"{_COLLECTIONS}/closed/{ABSENT}", 403, "FORBIDDEN"),
    get("a URL of 20 kB", f"{THINGS}?search={'x' * 20_000}", 414, "URI_TOO_LONG"),
]

IDS = [
    _thing("absent", ABSENT),
    _thing("hidden", HIDDEN),
    _thing("a word", "x"),
    _thing("an injection", "x'%20OR%20'1'='1"),
    _thing("another injection", f"{THING}';DROP%20TABLE%20things;--"),
    _thing("a wildcard", "%25"),
    _thing("null", "null"),
    _thing("undefined", "undefined"),
    _thing("an object", "[object%20Object]"),
    _thing("10 kB", "a" * 10_000),
    _thing("a blank before", f"%20{THING}"),
    _thing("a line end behind", f"{THING}%0a"),
    _thing("without hyphens and too long", THING.replace("-", "") + "0"),
    _thing("a urn in braces", f"%7B{THING}%7D%7D"),
    _thing("full-width digits", "%EF%BC%90%EF%BC%91"),
    get("int id: a word", f"{_COLLECTIONS}/select/x", 404, "DOCUMENT_NOT_FOUND"),
    get("int id: 2^63", f"{_COLLECTIONS}/select/9223372036854775808", 404, "DOCUMENT_NOT_FOUND"),
    get("int id: 5,000 digits", f"{_COLLECTIONS}/select/{'9' * 5000}", 404, "DOCUMENT_NOT_FOUND"),
    get("int id: negative", f"{_COLLECTIONS}/select/-1", 404, "DOCUMENT_NOT_FOUND"),
    get("int id: a fraction", f"{_COLLECTIONS}/select/1.0", 404, "DOCUMENT_NOT_FOUND"),
    get("int id: an exponent", f"{_COLLECTIONS}/select/1e0", 404, "DOCUMENT_NOT_FOUND"),
    get("int id: with SQL", f"{_COLLECTIONS}/select/1%20OR%201=1", 404, "DOCUMENT_NOT_FOUND"),
    get("int id: Arabic digits", f"{_COLLECTIONS}/select/%D9%A1", 404, "DOCUMENT_NOT_FOUND"),
]


def _with(
    name: str,
    status: int,
    code: str | None,
    *headers: tuple[str, str],
    method: str = "GET",
    url: str = THINGS,
    body: bytes | None = None,
    more: tuple[str, ...] = (),
) -> Hostile:
    return Hostile(name, method, url, status, code, body, headers, None, more)


METHODS = [
    _with("DELETE of a collection", 405, "METHOD_NOT_ALLOWED", method="DELETE"),
    _with("PUT of a collection", 405, "METHOD_NOT_ALLOWED", method="PUT"),
    _with("PATCH of a collection", 405, "METHOD_NOT_ALLOWED", method="PATCH"),
    _with("POST of a record", 405, "METHOD_NOT_ALLOWED", method="POST", url=ONE),
    _with("GET of a batch", 405, "METHOD_NOT_ALLOWED", url="/api/batch"),
    _with("POST of health", 405, "METHOD_NOT_ALLOWED", method="POST", url="/health"),
    _with("TRACE", 405, "METHOD_NOT_ALLOWED", method="TRACE"),
    _with("CONNECT", 405, "METHOD_NOT_ALLOWED", method="CONNECT"),
    _with("a method of one's own", 405, "METHOD_NOT_ALLOWED", method="DROP"),
    _with("a method in small letters", 405, "METHOD_NOT_ALLOWED", method="get"),
    _with("a method override", 405, "METHOD_NOT_ALLOWED", ("x-http-method-override", "DELETE"), method="POST", url=ONE),
    _with("a delete of a frozen record", 403, "FORBIDDEN", method="DELETE", url=f"{THINGS}/{FROZEN}"),
    _with("a delete of a hidden record", 404, "DOCUMENT_NOT_FOUND", method="DELETE", url=f"{THINGS}/{HIDDEN}"),
    _with("a delete with an id that is none", 404, "DOCUMENT_NOT_FOUND", method="DELETE", url=f"{THINGS}/*"),
    _with("a delete of a record in use", 409, "FOREIGN_KEY_VIOLATION", method="DELETE", url=f"{_COLLECTIONS}/users/{USER}"),
    _with("a delete with a filter", 400, "INVALID_QUERY", method="DELETE", url=f"{ONE}?filter=title:eq:x"),
]


def _typed(name: str, content_type: str) -> Hostile:
    return send(
        f"content type: {name}",
        '{"title":"t"}',
        status=415,
        code="UNSUPPORTED_MEDIA_TYPE",
        headers=(("content-type", content_type),),
    )


TYPES = [
    _typed("text", "text/plain"),
    _typed("a form", "application/x-www-form-urlencoded"),
    _typed("multipart", "multipart/form-data; boundary=x"),
    _typed("XML", "application/xml"),
    _typed("JavaScript", "application/javascript"),
    _typed("JSON in latin-1", "application/json; charset=iso-8859-1"),
    _typed("JSON in UTF-16", "application/json; charset=utf-16"),
    _typed("nonsense", "/;;;="),
    send(
        "compressed",
        b"\x1f\x8b\x08\x00",
        status=415,
        code="UNSUPPORTED_MEDIA_TYPE",
        headers=(_JSON, ("content-encoding", "gzip")),
    ),
    send("11 MB", b"[" + b" " * (11 * 1024 * 1024) + b"]", status=413, code="PAYLOAD_TOO_LARGE"),
]


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


_CLAIMS = {"sub": USER, "iss": "alyx", "iat": 1, "exp": 4102444800, "typ": "access", "role": "admin"}


def _bearer(name: str, value: str) -> Hostile:
    return _with(f"token: {name}", 401, "UNAUTHORIZED", ("authorization", value))


TOKENS = [
    _bearer("empty", ""),
    _bearer("no scheme", "abc"),
    _bearer("Basic", "Basic YTpi"),
    _bearer("only the scheme", "Bearer"),
    _bearer("a blank", "Bearer "),
    _bearer("a word", "Bearer abc"),
    _bearer("two dots", "Bearer .."),
    _bearer("algorithm none", f"Bearer {_part({'alg': 'none', 'typ': 'JWT'})}.{_part(_CLAIMS)}."),
    _bearer("algorithm None with capitals", f"Bearer {_part({'alg': 'NoNe'})}.{_part(_CLAIMS)}.x"),
    _bearer("a forged signature", f"Bearer {_part({'alg': 'HS256'})}.{_part(_CLAIMS)}.{'A' * 43}"),
    _bearer("RS256 with a key of one's own", f"Bearer {_part({'alg': 'RS256', 'jwk': {}})}.{_part(_CLAIMS)}.{'A' * 43}"),
    _bearer(
        "a key id that is a path", f"Bearer {_part({'alg': 'HS256', 'kid': '../../etc/passwd'})}.{_part(_CLAIMS)}.{'A' * 43}"
    ),
    _bearer("a header that is a list", f"Bearer {_part([])}.{_part(_CLAIMS)}.x"),
    _bearer("a crit header", f"Bearer {_part({'alg': 'HS256', 'crit': ['x']})}.{_part(_CLAIMS)}.x"),
    _bearer("8 kB of dots", "Bearer " + "." * 8000),
    _bearer("30 kB", "Bearer " + "a" * 30_000),
    _bearer("not ASCII", "Bearer \xe9\xff"),
    _bearer("deep JSON", f"Bearer {base64.urlsafe_b64encode(b'[' * 3000).decode()}.x.y"),
    _with("token: two headers", 401, "UNAUTHORIZED", ("authorization", "Bearer a"), ("authorization", "Bearer b")),
]


def _write(name: str, status: int, code: str, *headers: tuple[str, str], more: tuple[str, ...] = ()) -> Hostile:
    return _with(name, status, code, _JSON, *headers, method="PATCH", url=ONE, body=b'{"count":1}', more=more)


_KEY = "idempotency-key"
HEADERS = [
    _write("If-Match: a word", 412, "CONFLICT", ("if-match", "x")),
    _write("If-Match: nothing", 412, "CONFLICT", ("if-match", "")),
    _write("If-Match: another tag", 412, "CONFLICT", ("if-match", '"0000"')),
    _write("If-Match: SQL", 412, "CONFLICT", ("if-match", '"\' OR 1=1 --"')),
    _write("If-Match: a thousand tags", 412, "CONFLICT", ("if-match", ", ".join(['"x"'] * 1000))),
    _write("If-Match: not ASCII", 412, "CONFLICT", ("if-match", '"\xe9\xff"')),
    _write("Idempotency-Key: nothing", 400, "INVALID_QUERY", (_KEY, ""), more=("BAD_REQUEST",)),
    _write("Idempotency-Key: 256 letters", 400, "INVALID_QUERY", (_KEY, "x" * 256), more=("BAD_REQUEST",)),
    _write("Idempotency-Key: 20 kB", 400, "INVALID_QUERY", (_KEY, "x" * 20_000), more=("BAD_REQUEST",)),
    _write("Idempotency-Key: not ASCII", 400, "INVALID_QUERY", (_KEY, "\xe9"), more=("BAD_REQUEST",)),
    _write("Idempotency-Key: a control character", 400, "INVALID_QUERY", (_KEY, "a\x01b"), more=("BAD_REQUEST",)),
    _with("If-None-Match: nonsense", 200, None, ("if-none-match", 'W/,,"x'), url=ONE),
    _with("Alyx-As-Admin from nobody", 403, "FORBIDDEN", ("alyx-as-admin", "true"), url=f"{_COLLECTIONS}/closed"),
    _with(
        "X-User and X-Role from nobody", 403, "FORBIDDEN", ("x-user", "admin"), ("x-role", "admin"), url=f"{_COLLECTIONS}/closed"
    ),
    _with("X-Request-ID with a line end", 200, None, ("x-request-id", "a\r\nset-cookie: x=y")),
    _with("X-Request-ID of 10 kB", 200, None, ("x-request-id", "a" * 10_000)),
    _with("a Host of someone else", 200, None, ("host", 'evil.example"><script>')),
    _with("X-Forwarded-For from a stranger", 200, None, ("x-forwarded-for", "127.0.0.1, ::1, x'")),
    _with("an Origin that is a script", 200, None, ("origin", "javascript:alert(1)")),
    _with("Accept that cannot be", 200, None, ("accept", "application/xml;q=2")),
    _with("a Range of everything", 200, None, ("range", "bytes=0-,0-,0-,0-")),
]

TABLE: list[Hostile] = [*PATHS, *IDS, *METHODS, *TYPES, *TOKENS, *HEADERS]
