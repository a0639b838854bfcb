"""The client in a browser against a real server: what it holds is what the list says, and tokens come and go on the open line."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import PATIENCE, USER, Chat

pytestmark = pytest.mark.slow
_START = """async (server) => {
  const { Alyx } = await import(`${server}/_alyx/client.js`);
  window.seen = { statuses: [], errors: [], tokens: [], resets: 0, changes: 0 };
  window.open_line = (options) => {
    const renew = async () => { const token = await window.new_token(); window.seen.tokens.push(token); return token; };
    const getToken = options.renew && renew;
    window.alyx = new Alyx(server, { token: options.token, getToken, onStatus: (status) => window.seen.statuses.push(status) });
  };
  window.watch = (collection, question) => {
    window.list = window.alyx.subscribe(collection, question,
      (docs, changes) => { window.seen.changes++; if (changes.reset) window.seen.resets++; },
      (error) => window.seen.errors.push(error.code));
  };
}"""


@pytest.fixture
def page(chat: Chat, browser: Browser) -> Iterator[Page]:
    """A page of another origin that may call: `open_line(options)`, `watch(collection, question)`; what they see is in `seen`."""
    context = browser.new_context()
    context.set_default_timeout(PATIENCE * 1000)
    page = context.new_page()
    page.goto(chat.page)
    page.evaluate(_START, chat.server)
    yield page
    context.close()


def ids(page: Page) -> list[str]:
    found: list[str] = page.evaluate("window.list.docs.map((doc) => doc.id)")
    return found


def test_what_the_client_holds_after_random_writes_is_what_the_list_says_in_the_same_order(chat: Chat, page: Page) -> None:
    dice = random.Random(3)
    admin = {"authorization": f"Bearer {chat.token('admin')}"}
    room = chat.call("POST", "/api/collections/rooms", {"name": "dice"})["id"]
    names, letters = ["Ada", "Grace", "Linus", "ｆ", "😀"], ["a", "b", "A", "é", "ｆ", "😀", "10", "9"]
    page.evaluate("window.open_line({})")
    page.evaluate("(q) => window.watch('messages', q)", {"filter": {"name": {"$ne": "Grace"}}, "sort": "text,-name", "limit": 7})
    known: list[str] = []
    for _ in range(150):
        what = dice.random()
        message = {"name": dice.choice(names), "text": dice.choice(letters)}
        if what < 0.45 or not known:
            known.append(chat.call("POST", "/api/collections/messages", {"room_id": room, **message})["id"])
        elif what < 0.8:
            chat.call("PATCH", f"/api/collections/messages/{dice.choice(known)}", message, **admin)
        else:
            chat.call("DELETE", f"/api/collections/messages/{known.pop(dice.randrange(len(known)))}", **admin)
    url = "/api/collections/messages?filter=name:ne:Grace&sort=text,-name&limit=7"
    expected: list[dict[str, Any]] = chat.call("GET", url)["docs"]
    page.wait_for_function(
        "(ids) => window.list.docs.map((doc) => doc.id).join() === ids", arg=",".join(d["id"] for d in expected)
    )
    assert page.evaluate("window.list.docs") == expected
    assert page.evaluate("window.seen.errors") == []


def test_a_token_is_renewed_on_the_open_line_and_the_line_stays(chat: Chat, page: Page) -> None:
    # It renews with a fifth of the token's life left: two seconds, so that a busy machine is in time as well.
    page.expose_function("new_token", lambda: chat.token(ttl=10))
    page.evaluate("window.open_line({ renew: true })")
    page.evaluate("window.watch('rooms', {})")
    page.wait_for_function("window.seen.tokens.length >= 2")
    page.wait_for_function("(ended) => Date.now() > ended", arg=int((time.time() + 3) * 1000))  # the first token is over
    assert page.evaluate("window.seen.statuses") == ["connecting", "online"]
    assert page.evaluate("window.seen.errors") == []


def test_a_token_that_ends_stops_the_client_until_there_is_another_and_nothing_is_missed(chat: Chat, page: Page) -> None:
    page.evaluate("(token) => window.open_line({ token })", chat.token(ttl=2))
    page.evaluate("window.watch('rooms', { sort: 'name' })")
    first = chat.call("POST", "/api/collections/rooms", {"name": "a"})["id"]
    page.wait_for_function("window.list.docs.length === 1")
    page.wait_for_function("window.alyx.status === 'unauthorized'")
    assert page.evaluate("window.seen.errors") == ["UNAUTHORIZED"]
    second = chat.call("POST", "/api/collections/rooms", {"name": "b"})["id"]
    page.evaluate("(token) => window.alyx.auth(token)", chat.token())
    page.wait_for_function("window.list.docs.length === 2")
    assert ids(page) == [first, second]
    assert page.evaluate("window.seen.resets") == 0


def test_signing_in_and_out_on_the_open_line_tells_the_user(chat: Chat, page: Page) -> None:
    page.evaluate("window.open_line({})")
    page.evaluate("window.watch('rooms', {})")
    page.wait_for_function("window.seen.changes === 1")
    assert page.evaluate("(token) => window.alyx.auth(token)", chat.token()) == USER
    assert page.evaluate("window.alyx.auth('nonsense').catch((error) => error.code)") == "UNAUTHORIZED"
    assert page.evaluate("window.alyx.auth(null)") is None
    assert page.evaluate("window.seen.statuses") == ["connecting", "online"]
