"""What a client may have taken apart and put together again: cursors, and tokens that carry a good signature."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import jwt
import pytest

from alyx.app import build
from tests.asgi import Answer, Client
from tests.hostile.driver import SECRET, program
from tests.hostile.words import THINGS, USER

ORDERS = ("count", "-ratio", "price", "title", "at", "done", "meta.a", "owner_id.name", "-count,title", "tags")
VALUES: list[Any] = [
    *(
        2**63,
        2**64 - 1,
        -(2**63),
        1e308,
        5e-324,
        -0.0,
        True,
        None,
        "",
        "x" * 3000,
        "\x00",
        "\U0010ffff",
        "' OR 1=1 --",
        "9" * 400,
    ),
    *([], [1], {}, {"a": 1}, "NaN", "1e400", "9223372036854775808", "99999999999999999.99"),
]
"""Things that stand in a cursor instead of what the server wrote there."""


def forge(cursor: str, place: int, value: Any) -> str:
    """The cursor with another value at one place; place -1 adds one."""
    parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    if place < 0:
        parts.append(value)
    else:
        parts[place] = value
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def forged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """The answers to every forged cursor, by a description."""
    config, source = program(tmp_path_factory.mktemp("forged"))

    async def ask() -> dict[str, Answer]:
        found: dict[str, Answer] = {}
        async with build.database(config) as engine:
            client = Client(build.Program(config, source, engine, SECRET, observers=[], dev=False).edge)
            await client.send("POST", "/api/collections/users", json={"id": USER, "name": "Ada"})
            record = {"title": "t", "count": 3, "ratio": 0.5, "price": "1.50", "meta": {"a": 1}, "owner_id": USER}
            await client.send("POST", THINGS, json=[record, record, record])
            for order in ORDERS:
                first = await client.send("GET", f"{THINGS}?limit=1&sort={order}")
                if first.status != 200:
                    found[f"{order}: refused"] = first
                    continue
                cursor = first.json()["next_cursor"]
                places = [1, 2, -1] if "," not in order else [1, 2, 3, -1]
                for place in places:
                    for value in VALUES:
                        url = f"{THINGS}?limit=1&sort={order}&cursor={forge(cursor, place, value)}"
                        found[f"{order}, place {place}: {str(value)[:30]!r}"] = await client.send("GET", url)
        return found

    return asyncio.run(ask())


def test_a_forged_cursor_is_a_place_in_the_order_or_refused(forged: dict[str, Answer]) -> None:
    assert len(forged) > 300
    wrong = {name: answer for name, answer in forged.items() if answer.status not in (200, 400, 414)}
    assert wrong == {}


def test_a_forged_cursor_that_is_refused_is_an_invalid_query(forged: dict[str, Answer]) -> None:
    assert {answer.json()["code"] for answer in forged.values() if answer.status == 400} <= {"INVALID_QUERY"}


def test_a_client_cannot_use_up_the_keys_that_the_server_makes(tmp_path: Path) -> None:
    """SQLite makes the next integer key from the largest one; given 2^63-1 it would never make one again."""
    config, source = program(tmp_path)

    async def ask() -> list[Answer]:
        async with build.database(config) as engine:
            client = Client(build.Program(config, source, engine, SECRET, observers=[], dev=False).edge)
            path = "/api/collections/select"
            wanted = [{"id": 2**63 - 1, "order": "x"}, {"id": 2**63 - 2, "order": "x"}, {"order": "y"}, {"order": "z"}]
            return [await client.send("POST", path, json=body) for body in wanted]

    answers = asyncio.run(ask())
    assert [answer.status for answer in answers[2:]] == [201, 201], answers
    assert all(answer.status in (201, 400) for answer in answers[:2]), answers


_GOOD: dict[str, Any] = {"iss": "alyx", "sub": USER, "iat": 1_700_000_000, "exp": 4_102_444_800, "typ": "access", "role": "admin"}
TOKENS: dict[str, tuple[dict[str, Any], str, str]] = {
    "a refresh token": (_GOOD | {"typ": "refresh"}, "HS256", "UNAUTHORIZED"),
    "no type": ({name: value for name, value in _GOOD.items() if name != "typ"}, "HS256", "UNAUTHORIZED"),
    "no expiry": ({name: value for name, value in _GOOD.items() if name != "exp"}, "HS256", "UNAUTHORIZED"),
    "an expiry in the past": (_GOOD | {"exp": 1_700_000_001}, "HS256", "TOKEN_EXPIRED"),
    "an expiry that is text": (_GOOD | {"exp": "never"}, "HS256", "UNAUTHORIZED"),
    "an expiry that is true": (_GOOD | {"exp": True}, "HS256", "UNAUTHORIZED"),
    "an expiry of 10^400": (_GOOD | {"exp": 10**400}, "HS256", "UNAUTHORIZED"),
    "an expiry that is a list": (_GOOD | {"exp": [4_102_444_800]}, "HS256", "UNAUTHORIZED"),
    "issued in the future": (_GOOD | {"iat": 4_000_000_000}, "HS256", "UNAUTHORIZED"),
    "not yet valid": (_GOOD | {"nbf": 4_000_000_000}, "HS256", "UNAUTHORIZED"),
    "another issuer": (_GOOD | {"iss": "else"}, "HS256", "UNAUTHORIZED"),
    "an issuer that is a list": (_GOOD | {"iss": ["alyx"]}, "HS256", "UNAUTHORIZED"),
    "an empty subject": (_GOOD | {"sub": ""}, "HS256", "UNAUTHORIZED"),
    "a subject that is null": (_GOOD | {"sub": None}, "HS256", "UNAUTHORIZED"),
    "a subject that is a number": (_GOOD | {"sub": 5}, "HS256", "UNAUTHORIZED"),
    "another algorithm": (_GOOD, "HS512", "UNAUTHORIZED"),
}


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """The answers to tokens that are signed with the right secret and are wrong otherwise."""
    config, source = program(tmp_path_factory.mktemp("tokens"))

    async def ask() -> dict[str, Answer]:
        async with build.database(config) as engine:
            client = Client(build.Program(config, source, engine, SECRET, observers=[], dev=False).edge)
            return {name: await client.send("GET", THINGS, headers=_bearer(*token[:2])) for name, token in TOKENS.items()}

    return asyncio.run(ask())


def _bearer(claims: dict[str, Any], algorithm: str) -> dict[str, str]:
    """Encoded by hand, since the library refuses to make some of these."""
    signer = jwt.PyJWS()
    token = signer.encode(json.dumps(claims).encode(), SECRET * 2 if algorithm == "HS512" else SECRET, algorithm=algorithm)
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize("name", TOKENS)
def test_a_token_with_a_good_signature_and_odd_claims_is_refused(name: str, judged: dict[str, Answer]) -> None:
    assert (judged[name].status, judged[name].json()["code"]) == (401, TOKENS[name][2])
