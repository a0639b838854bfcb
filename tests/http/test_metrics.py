"""/metrics: what is counted and who may see it."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from alyx.http import settings
from alyx.http.edge import Edge
from alyx.http.metrics import Metrics, prefixed, routes
from alyx.http.routes import Routes
from tests.asgi import Client
from tests.http.conftest import ROUTES


def serve(token: str | None = None, **sources: float) -> Client:
    metrics = Metrics([lambda: sources])
    table = Routes([*ROUTES, *routes(metrics, settings.Metrics(token=token))])
    return Client(Edge(table, settings.Edge(), observers=[metrics.record]))


def samples(client: Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = client.get("/metrics").text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_requests_are_counted_by_method_route_and_status() -> None:
    client = serve()
    for key in ("1", "2", "secret-id"):
        client.get(f"/api/collections/posts/{key}")
    client.get("/fail")
    client.get("/wp-admin/../../etc/passwd")
    found = samples(client)
    route = "/api/collections/{collection}/{id}"
    assert found["alyx_http_requests_total", (("method", "GET"), ("route", route), ("status", "200"))] == 3
    assert found["alyx_http_requests_total", (("method", "GET"), ("route", "/fail"), ("status", "500"))] == 1
    assert found["alyx_http_requests_total", (("method", "GET"), ("route", "unmatched"), ("status", "404"))] == 1
    assert found["alyx_http_request_duration_seconds_count", (("method", "GET"), ("route", route))] == 3
    assert found["alyx_http_request_duration_seconds_bucket", (("le", "+Inf"), ("method", "GET"), ("route", route))] == 3
    assert found["alyx_http_request_duration_seconds_sum", (("method", "GET"), ("route", route))] > 0


def test_no_label_holds_what_a_client_wrote() -> None:
    client = serve()
    for number in range(50):
        client.request(f"M{number}", f"/x{number}/secret")
    text = client.get("/metrics").text
    assert "secret" not in text
    assert "M1" not in text
    assert text.count("alyx_http_requests_total{") == 1


def test_buckets_are_cumulative() -> None:
    client = serve()
    client.get("/whoami")
    found = samples(client)
    values = [value for (name, labels), value in found.items() if name.endswith("_bucket") and ("route", "/whoami") in labels]
    assert values == sorted(values)


def test_numbers_of_other_parts_and_of_the_process_stand_beside_them() -> None:
    found = samples(serve(write_queue=3, writes_total=12))
    assert found["alyx_write_queue", ()] == 3
    assert found["alyx_writes_total", ()] == 12
    assert any(name == "alyx_process_info" for name, _ in found)
    assert any(name == "process_cpu_seconds_total" for name, _ in found)


def test_names_of_counters_get_their_ending() -> None:
    source = prefixed("database_", lambda: {"writes": 2, "write_queue": 1}, gauges=["write_queue"])
    assert source() == {"database_writes_total": 2, "database_write_queue": 1}


def test_a_token_guards_them() -> None:
    client = serve(token="s3cret-token")
    assert client.get("/metrics").status == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer wrong"}).status == 401
    assert client.get("/metrics", headers={"Authorization": "Basic s3cret-token"}).status == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer é"}).status == 401
    answer = client.get("/metrics", headers={"Authorization": "Bearer s3cret-token"})
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")


def test_they_can_be_turned_off() -> None:
    assert routes(Metrics(), settings.Metrics(enabled=False)) == []
