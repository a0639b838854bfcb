"""What every answer promises: the envelope, ids, headers, methods, credentials."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime

import pytest

from alyx.base.errors import AlyxError
from alyx.codegen import codes
from alyx.http import edge
from alyx.http.message import Request, Response
from alyx.http.routes import Route, Routes
from tests.asgi import Client
from tests.http.conftest import make_edge, raising


def test_a_path_that_nobody_answers_is_404_in_the_envelope(client: Client) -> None:
    answer = client.get("/nowhere")
    assert answer.status == 404
    body = answer.json()
    assert body["code"] == "NOT_FOUND"
    assert body["error"]
    assert body["request_id"] == answer.headers["x-request-id"]
    assert datetime.fromisoformat(body["timestamp"]).tzinfo is not None
    assert answer.headers["content-type"] == "application/json"


def test_a_wrong_method_is_405_and_says_which_are_allowed(client: Client) -> None:
    answer = client.post("/api/collections/posts/1", json={})
    assert answer.status == 405
    assert answer.headers["allow"] == "DELETE, GET, HEAD, OPTIONS"
    assert answer.json()["code"] == "METHOD_NOT_ALLOWED"


def test_an_unknown_method_is_405_and_not_an_error_of_the_server(client: Client) -> None:
    assert client.request("BREW", "/whoami").status == 405
    assert client.request("BREW", "/nowhere").status == 404


def test_head_answers_as_get_without_its_body(client: Client) -> None:
    head = client.request("HEAD", "/api/collections/posts/1")
    get = client.get("/api/collections/posts/1")
    assert head.status == 200
    assert head.body == b""
    assert head.headers["content-length"] == get.headers["content-length"]


def test_options_without_an_origin_lists_the_methods(client: Client) -> None:
    answer = client.request("OPTIONS", "/whoami")
    assert answer.status == 204
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


def test_parameters_are_percent_decoded_within_their_segment(client: Client) -> None:
    assert client.get("/api/collections/posts/a%2Fb%20%C3%A9").json()["id"] == "a/b é"


@pytest.mark.parametrize(
    "path",
    [
        "/api/collections/posts/%ff",
        "/api/collections/posts/%C3",
        "/api/collections/posts/a%00b",
        "/api/collections/posts/",
        "/api/collections//1",
        "/api/collections/posts/1/",
        "//api/collections/posts/1",
        "/api/collections/posts/1/2",
    ],
)
def test_a_path_that_could_name_nothing_is_404(client: Client, path: str) -> None:
    assert client.get(path).status == 404


def test_bytes_in_the_url_that_are_not_utf8_are_400(client: Client) -> None:
    assert client.request("GET", b"/api/collections/posts/\xff").status == 400  # type: ignore[arg-type]  # raw on purpose
    assert client.request("GET", b"/whoami?x=\xff").json()["code"] == "BAD_REQUEST"  # type: ignore[arg-type]  # raw on purpose


def test_the_raw_query_reaches_the_route(client: Client) -> None:
    assert client.get("/api/collections/posts/1?filter=a:eq:%20b&x").json()["query"] == "filter=a:eq:%20b&x"


def test_a_url_beyond_the_limit_is_414(client: Client) -> None:
    answer = client.get("/whoami?" + "x" * 500)
    assert (answer.status, answer.json()["code"]) == (414, "URI_TOO_LONG")


@pytest.mark.parametrize("sent", ["abc-DEF_1.2", "x" * 128])
def test_a_sane_request_id_is_echoed(client: Client, sent: str) -> None:
    assert client.get("/whoami", headers={"X-Request-ID": sent}).headers["x-request-id"] == sent


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, "a\r\nSet-Cookie: b", "é", "<script>", "a\n"])
def test_any_other_request_id_is_replaced(client: Client, sent: str) -> None:
    made = client.get("/whoami", headers={"X-Request-ID": sent}).headers["x-request-id"]
    assert made != sent
    assert made.isalnum()


def test_two_requests_have_two_ids(client: Client) -> None:
    assert client.get("/whoami").headers["x-request-id"] != client.get("/whoami").headers["x-request-id"]


@pytest.mark.parametrize("path", ["/whoami", "/nowhere", "/fail", "/page", "/nothing"])
def test_security_headers_stand_on_every_answer(client: Client, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers


def test_a_page_brings_its_own_policy_and_only_that(client: Client) -> None:
    answer = client.get("/page")
    assert [value for name, value in answer.raw if name == b"content-security-policy"] == [
        b"default-src 'self'; frame-ancestors 'none'"
    ]


def test_204_has_neither_a_length_nor_a_type(client: Client) -> None:
    headers = client.get("/nothing").headers
    assert "content-length" not in headers
    assert "content-type" not in headers


def test_an_unexpected_error_is_500_and_tells_nothing_of_the_inside(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, logger="alyx.http"):
        answer = client.get("/fail")
    assert answer.status == 500
    assert answer.json()["code"] == "INTERNAL"
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    record = caplog.records[0]
    assert answer.json()["request_id"] in record.getMessage()
    assert record.exc_info is not None


def test_at_most_100_details_are_shown_and_the_operation_is_named(client: Client) -> None:
    body = client.get("/many").json()
    assert len(body["details"]) == 100
    assert body["details"][0] == {"field": "f0", "code": "required", "message": "is required"}
    assert body["operation"] == 3
    assert body["hint"] == "Mend them."


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/timeout", "QUERY_TIMEOUT"),
        ("/overloaded", "OVERLOADED"),
        ("/unavailable", "DATABASE_UNAVAILABLE"),
        ("/moved", "DATABASE_UNAVAILABLE"),
    ],
)
def test_a_database_that_cannot_answer_is_503_with_retry_after(client: Client, path: str, code: str) -> None:
    answer = client.get(path)
    assert (answer.status, answer.json()["code"]) == (503, code)
    assert int(answer.headers["retry-after"]) >= 1
    assert "secret" not in answer.text
    assert "/var" not in answer.text


def test_an_error_whose_words_cannot_be_sent_is_still_an_envelope(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(edge._log, "error", lambda text, *_, **__: told.append(text))
    answer = client.get("/half-a-character")
    assert (answer.status, answer.json()["code"]) == (500, "INTERNAL")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert told == ["the answer to an error could not be made [%s]"]


def test_a_code_that_the_contract_does_not_know_is_500(client: Client) -> None:
    assert client.get("/unknown-code").status == 500


def test_no_token_is_anonymous_and_a_good_one_is_somebody(client: Client) -> None:
    assert client.get("/whoami").json()["user"] is None
    assert client.get("/whoami", headers={"Authorization": "Bearer good"}).json()["user"] == "u1"


@pytest.mark.parametrize(
    ("token", "code"), [("Bearer bad", "UNAUTHORIZED"), ("Bearer old", "TOKEN_EXPIRED"), ("", "UNAUTHORIZED")]
)
def test_an_invalid_token_is_401_and_not_anonymous(client: Client, token: str, code: str) -> None:
    answer = client.get("/whoami", headers={"Authorization": token})
    assert (answer.status, answer.json()["code"]) == (401, code)
    assert answer.headers["www-authenticate"] == "Bearer"


def test_two_tokens_in_one_request_are_no_token(client: Client) -> None:
    headers = [("Authorization", "Bearer good"), ("Authorization", "Bearer good")]
    assert client.get("/whoami", headers=headers).status == 401


def test_a_route_that_does_not_judge_credentials_takes_any(client: Client) -> None:
    assert client.get("/open", headers={"Authorization": "Bearer bad"}).json()["user"] is None


def test_routes_can_be_swapped_while_the_edge_runs() -> None:
    edge = make_edge()
    edge.routes = Routes([Route("GET", "/new", raising(AlyxError("FORBIDDEN", "no")))])
    assert Client(edge).get("/new").status == 403
    assert Client(edge).get("/whoami").status == 404


def test_observers_hear_of_route_status_and_size() -> None:
    heard: list[tuple[str, int, int]] = []

    def observe(request: Request, status: int, size: int, seconds: float) -> None:
        assert seconds >= 0
        heard.append((request.route, status, size))

    client = Client(make_edge(observers=[observe]))
    body = client.get("/api/collections/posts/1").body
    client.get("/nowhere/at/all")
    client.post("/measure", body=[])
    assert heard[0] == ("/api/collections/{collection}/{id}", 200, len(body))
    assert heard[1][:2] == ("unmatched", 404)


def test_a_client_that_leaves_within_its_body_gets_nothing_and_is_499() -> None:
    heard: list[int] = []
    edge = make_edge(observers=[lambda request, status, size, seconds: heard.append(status)])

    async def leave() -> None:
        messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

        async def receive() -> dict[str, object]:
            return messages.pop(0)

        async def send(message: object) -> None:
            raise AssertionError("nobody is there")

        scope = {"type": "http", "method": "POST", "path": "/measure", "headers": [], "client": None}
        await edge(scope, receive, send)  # type: ignore[arg-type]  # a literal scope

    asyncio.run(leave())
    assert heard == [499]


def test_every_code_has_a_status_of_its_kind() -> None:
    assert all(400 <= status < 600 for status, _ in codes.ERRORS.values())
    assert codes.status("FORBIDDEN") == 403
    assert codes.status("CONFLICT") == 412
    assert codes.status("SLIP") == 500


def test_a_scope_without_raw_path_and_client_is_answered() -> None:
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/whoami", "headers": []}
    asyncio.run(make_edge()(scope, receive, send))  # type: ignore[arg-type]  # a literal scope
    assert sent[0]["status"] == 200


def test_a_response_is_json_unless_it_says_otherwise() -> None:
    assert Response().content_type == b"application/json"
