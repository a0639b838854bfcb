"""What a body may be: its size, its type, its pace."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.asgi import Client
from tests.http.conftest import make_edge

JSON = {"Content-Type": "application/json"}


def test_a_body_up_to_the_limit_is_taken(client: Client) -> None:
    assert client.post("/measure", body=b"x" * 1000, headers=JSON).json() == {"bytes": 1000}
    assert client.post("/measure", body=[b"x" * 500, b"", b"x" * 500], headers=JSON).json() == {"bytes": 1000}


@pytest.mark.parametrize("body", [b"x" * 1001, [b"x" * 600, b"x" * 600], [b"x" * 1001]])
def test_a_body_beyond_the_limit_is_413(client: Client, body: Any) -> None:
    answer = client.post("/measure", body=body, headers=JSON)
    assert (answer.status, answer.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize("length", ["1001", "9" * 400, "99999999999999999999"])
def test_a_length_beyond_the_limit_is_413_before_anything_is_read(length: str) -> None:
    edge = make_edge(max_body_size=1000)
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-length", length.encode()), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/measure", "headers": headers, "client": None}
    asyncio.run(edge(scope, receive, send))
    assert sent[0]["status"] == 413


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        'Application/JSON;charset="UTF-8"',
        "application/merge-patch+json",
        "",
    ],
)
def test_json_in_utf8_is_taken(client: Client, content_type: str) -> None:
    assert client.post("/measure", body=b"{}", headers={"Content-Type": content_type}).status == 200


def test_a_body_without_a_content_type_is_read_as_json(client: Client) -> None:
    assert client.post("/measure", body=b"{}").status == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin-1",
        "x",
    ],
)
def test_anything_else_is_415(client: Client, content_type: str) -> None:
    answer = client.post("/measure", body=b"{}", headers={"Content-Type": content_type})
    assert (answer.status, answer.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_a_compressed_body_is_415(client: Client) -> None:
    assert client.post("/measure", body=b"{}", headers={**JSON, "Content-Encoding": "gzip"}).status == 415
    assert client.post("/measure", body=b"{}", headers={**JSON, "Content-Encoding": "identity"}).status == 200


def test_a_body_that_never_comes_is_408() -> None:
    edge = make_edge(body_deadline=0.02)
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/measure", "headers": [], "client": None}
    asyncio.run(edge(scope, receive, send))
    assert sent[0]["status"] == 408
    assert b"REQUEST_TIMEOUT" in sent[1]["body"]


def test_a_trickle_is_408_and_a_slow_line_is_not() -> None:
    def measure(rate: int) -> int:
        edge = make_edge(body_deadline=0.03, body_rate=rate)
        pieces = [b"x"] * 10
        sent: list[Any] = []

        async def receive() -> Any:
            await asyncio.sleep(0.01)
            pieces.pop()
            return {"type": "http.request", "body": b"x", "more_body": bool(pieces)}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/measure", "headers": [], "client": None}
        asyncio.run(edge(scope, receive, send))
        status: int = sent[0]["status"]
        return status

    assert measure(rate=1_000_000) == 408
    assert measure(rate=1) == 200
