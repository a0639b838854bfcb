"""A connection is told what is wrong, is bounded in all that it may cost, and holds nobody else up (contract §5)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alyx.base.units import Rate
from alyx.realtime.outlet import Client
from alyx.realtime.places import Places
from alyx.realtime.settings import Settings
from tests.realtime.stage import Stage
from tests.realtime.test_live import SCHEMA


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    settings = Settings(pause=0.001, max_subscriptions=3, messages=Rate(50, 60.0), max_connections_per_user=2)
    made = Stage(SCHEMA, tmp_path, settings)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "INVALID_MESSAGE"),
        ("[]", "INVALID_MESSAGE"),
        ('"ping"', "INVALID_MESSAGE"),
        ("{}", "INVALID_MESSAGE"),
        ('{"type": 5}', "INVALID_MESSAGE"),
        ('{"type": "dance"}', "INVALID_MESSAGE"),
        ('{"type": "ping", "type": "pong"}', "INVALID_MESSAGE"),
        ('{"type": "ping", "id": {}}', "INVALID_MESSAGE"),
        ('{"type": "ping", "id": "\\ud800"}', "INVALID_MESSAGE"),
        ("[" * 100_000, "INVALID_MESSAGE"),
        ('{"type": "subscribe", "payload": []}', "INVALID_PAYLOAD"),
        ('{"type": "subscribe"}', "INVALID_PAYLOAD"),
        ('{"type": "subscribe", "payload": {"collection": 5}}', "INVALID_PAYLOAD"),
        ('{"type": "subscribe", "payload": {"collection": "nothing"}}', "COLLECTION_NOT_FOUND"),
        ('{"type": "subscribe", "payload": {"collection": "posts", "filtr": {}}}', "INVALID_PAYLOAD"),
        ('{"type": "subscribe", "payload": {"collection": "posts", "filter": {"nope": 1}}}', "INVALID_FILTER"),
        ('{"type": "subscribe", "payload": {"collection": "posts", "where": "doc.nope"}}', "INVALID_FILTER"),
        ('{"type": "subscribe", "payload": {"collection": "posts", "where": "("}}', "INVALID_FILTER"),
        ('{"type": "subscribe", "payload": {"collection": "posts", "sort": "nope"}}', "INVALID_FILTER"),
        ('{"type": "subscribe", "payload": {"collection": "posts", "expand": "title"}}', "INVALID_FILTER"),
        ('{"type": "subscribe", "payload": {"collection": "posts", "limit": -1}}', "INVALID_PAYLOAD"),
        ('{"type": "subscribe", "payload": {"collection": "posts", "since": 5}}', "INVALID_PAYLOAD"),
        ('{"type": "auth", "payload": {"token": "a.b.\\ud800"}}', "UNAUTHORIZED"),
        ('{"type": "subscribe", "payload": {"collection": "posts", "filter": {"title": "\\ud800"}}}', "INVALID_FILTER"),
        ('{"type": "unsubscribe", "payload": {}}', "INVALID_PAYLOAD"),
        ('{"type": "unsubscribe", "payload": {"subscription_id": "x"}}', "INVALID_PAYLOAD"),
        ('{"type": "auth", "payload": {}}', "INVALID_PAYLOAD"),
        ('{"type": "auth", "payload": {"token": 5}}', "INVALID_PAYLOAD"),
        ('{"type": "auth", "payload": {"token": "x"}}', "UNAUTHORIZED"),
    ],
)
def test_what_is_wrong_is_named_and_the_connection_stays(stage: Stage, text: str, code: str) -> None:
    async def story() -> None:
        person = stage.person()
        person.session.receive(text)
        await person.line.until(lambda: len(person.line.messages) == 2)
        assert person.line.messages[1]["type"] == "error"
        assert person.line.messages[1]["payload"]["code"] == code, person.line.messages[1]
        assert (await person.ask("ping"))["type"] == "pong"
        assert person.line.code is None

    stage.run(story)


def test_a_connection_begins_by_saying_who_it_is(stage: Stage) -> None:
    async def story() -> None:
        first = stage.person().line.messages[0]
        assert first["type"] == "connected"
        assert first["payload"]["protocol"] == 1
        assert first["payload"]["client_id"]

    stage.run(story)


def test_subscriptions_of_a_connection_are_bounded(stage: Stage) -> None:
    async def story() -> None:
        person = stage.person()
        subs = [await person.subscribe("posts", filter={"views": number}) for number in range(3)]
        refused = await person.ask("subscribe", collection="posts")
        assert refused["payload"]["code"] == "SUBSCRIPTION_LIMIT_REACHED"
        assert (await person.ask("unsubscribe", subscription_id=subs[0]))["type"] == "unsubscribed"
        await person.subscribe("posts")

    stage.run(story)


def test_messages_beyond_the_rate_are_refused_and_a_flood_is_closed(stage: Stage) -> None:
    async def story() -> None:
        person = stage.person()
        for _ in range(60):
            person.say("ping")
        codes = [each["payload"]["code"] for each in person.line.messages if each["type"] == "error"]
        assert codes == ["RATE_LIMITED"] * 10
        for _ in range(200):
            person.say("ping")
        assert person.line.code == 4429

    stage.run(story)


def test_connections_of_one_user_are_bounded(stage: Stage) -> None:
    async def story() -> None:
        first, second = stage.person("ann"), stage.person("ann")
        assert stage.person("ann").line.code == 4429
        assert stage.person("bob").line.code is None
        first.session.lost()
        assert stage.person("ann").line.code is None
        assert second.line.code is None

    stage.run(story)


def test_a_set_that_grows_beyond_a_thousand_ends_with_an_error(stage: Stage) -> None:
    async def story() -> None:
        docs = [{"id": number, "title": "t", "status": "published"} for number in range(1000)]
        await stage.write("POST", "/posts", docs)
        person = stage.person()
        sub = await person.subscribe("posts")
        assert len(person.shown(sub)) == 1000
        await stage.write("POST", "/posts", {"id": 2000, "title": "t", "status": "published"})
        await person.line.until(lambda: person.line.messages[-1]["type"] == "error")
        last = person.line.messages[-1]["payload"]
        assert (last["code"], last["subscription_id"]) == ("RESULT_TOO_LARGE", sub)
        refused = await person.ask("subscribe", collection="posts")
        assert refused["payload"]["code"] == "RESULT_TOO_LARGE"
        window = await person.subscribe("posts", sort="-id", limit=2)
        assert set(person.shown(window)) == {2000, 999}

    stage.run(story)


def test_a_slow_client_is_told_less_often_and_then_closed(stage: Stage) -> None:
    async def story() -> None:
        slow, quick = stage.person(), stage.person()
        await stage.write("POST", "/posts", {"id": 1, "title": "t", "status": "published"})
        sub, other = await slow.subscribe("posts"), await quick.subscribe("posts")
        slow.line.taken, slow.line.unread = False, 100_000
        heard = len(slow.line.messages)
        for number in range(40):
            await stage.write("PATCH", "/posts/1", {"views": number + 1})
        await quick.until(other, lambda view: view[1]["views"] == 40)
        assert len(slow.line.messages) == heard
        slow.line.taken, slow.line.unread = True, 0
        slow.session.drained()
        await slow.until(sub, lambda view: view[1]["views"] == 40)
        assert len(slow.line.messages) == heard + 1
        slow.line.taken, slow.line.unread = False, 100_000
        for number in range(30):
            body = {"id": 100 + number, "title": "t", "status": "published", "body": "x" * 3000}
            await stage.write("POST", "/posts", body)
        await quick.until(other, lambda view: len(view) == 31)
        assert slow.line.code == 4408

    stage.run(story)


def test_a_token_that_ends_closes_its_connection(stage: Stage) -> None:
    async def story() -> None:
        person = stage.person("ann")
        await person.ask("auth", token=stage.token("ann", ttl=10))
        stage.tick(11)
        await person.line.until(lambda: person.line.code is not None)
        assert person.line.code == 4401

    stage.run(story)


def test_a_closed_collection_is_refused_and_an_admin_may_bypass(stage: Stage) -> None:
    async def story() -> None:
        await stage.write("POST", "/posts", {"id": 1, "title": "t", "author": "ann"})
        admin = stage.person("root", "admin")
        plain = await admin.subscribe("posts")
        assert not admin.shown(plain)
        whole = await admin.subscribe("posts", as_admin=True)
        assert set(admin.shown(whole)) == {1}
        other = stage.person("bob")
        assert not other.shown(await other.subscribe("posts", as_admin=True))

    stage.run(story)


def test_another_schema_gives_every_view_anew(stage: Stage) -> None:
    async def story() -> None:
        await stage.write("POST", "/posts", {"id": 1, "title": "t", "author": "ann"})
        person = stage.person()
        sub = await person.subscribe("posts")
        bad = await person.subscribe("posts", filter={"views": 0})
        assert not person.shown(sub)
        stage.serve(SCHEMA.replace("doc.status == 'published' ||", "true ||").replace("views: {", "seen: { renamed_from: views,"))
        await person.line.until(lambda: sum(each["type"] in ("snapshot", "error") for each in person.line.messages) == 4)
        found: dict[str, Any] = {each["payload"]["subscription_id"]: each for each in person.line.messages[-2:]}
        assert found[sub]["payload"]["reset"] is True
        assert [doc["id"] for doc in found[sub]["payload"]["docs"]] == [1]
        assert found[bad]["payload"]["code"] == "INVALID_FILTER"
        assert json.dumps(found[sub]).count("seen") == 1

    stage.run(story)


def test_an_error_carries_the_id_of_what_it_answers(stage: Stage) -> None:
    async def story() -> None:
        person = stage.person()
        for text in ('{"id": "7", "type": "subscribe", "payload": []}', '{"id": 8}'):
            person.session.receive(text)
        await person.line.until(lambda: len(person.line.messages) == 3)
        assert [each["id"] for each in person.line.messages[1:]] == ["7", 8]

    stage.run(story)


def test_a_token_that_nobody_gave_out_is_answered_as_if_anew(stage: Stage) -> None:
    async def story() -> None:
        person = stage.person()
        for since in ("", "x", "a.1.1.\ud800", "a.1.1." + "f" * 16, "." * 200, "a.-1.1.b", "a.99999999999999999999.1.b"):
            answer = await person.ask("subscribe", collection="posts", since=since)
            assert answer["type"] == "snapshot", answer
            assert answer["payload"]["reset"] is True
            await person.ask("unsubscribe", subscription_id=answer["payload"]["subscription_id"])

    stage.run(story)


def test_a_client_that_does_not_read_gets_one_large_answer_and_not_a_hundred(stage: Stage) -> None:
    async def story() -> None:
        docs = [{"id": number, "title": "t" * 200, "status": "published"} for number in range(500)]
        await stage.write("POST", "/posts", docs)
        person = stage.person()
        person.line.taken = False
        for _ in range(3):
            person.say("subscribe", collection="posts")
        await person.line.until(lambda: person.line.unread > 100_000)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(person.line.messages) == 2
        person.line.taken, person.line.unread = True, 0
        person.session.drained()
        await person.line.until(lambda: len(person.line.messages) == 4)

    stage.run(story)


def test_what_may_wait_to_be_read_is_bounded(stage: Stage) -> None:
    async def story() -> None:
        person = stage.person()
        for _ in range(6):
            person.session.receive('{"type": "subscribe", "payload": {"collection": "' + "x" * 60_000 + '"}}')
        assert person.line.code == 4429

    stage.run(story)


def test_a_large_message_on_a_free_line_costs_no_client_its_connection(stage: Stage) -> None:
    async def story() -> None:
        person = stage.person()
        sub = await person.subscribe("posts")
        person.line.taken = False
        docs = [{"id": number, "title": "t" * 200, "status": "published"} for number in range(200)]
        await stage.write("POST", "/posts", docs)
        await person.until(sub, lambda view: len(view) == 200)
        assert person.line.unread > 50_000
        person.say("ping")
        await stage.write("PATCH", "/posts/1", {"views": 1})
        person.session.receive('{"id": "p", "type": "ping", "payload": {"x": "' + "y" * 300 + '"}}')
        person.line.unread = 0
        person.session.drained()
        await person.line.until(lambda: any(each.get("id") == "p" for each in person.line.messages))
        await person.until(sub, lambda view: view[1]["views"] == 1)
        assert person.line.code is None

    stage.run(story)


def test_addresses_of_one_subscriber_count_as_one() -> None:
    places = Places(Settings(max_connections_per_address=2))
    clients = [Client(ip=f"2001:db8:0:1::{number}") for number in range(1, 4)]
    assert [places.take(number, client) is None for number, client in enumerate(clients)] == [True, True, False]
    assert places.take(9, Client(ip="2001:db8:0:2::1")) is None
