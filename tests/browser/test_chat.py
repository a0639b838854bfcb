"""The chat in two browsers: messages appear, the server is killed and comes back, nothing is lost or doubled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PATIENCE, Chat

pytestmark = pytest.mark.slow
_MS = PATIENCE * 1000
_WATCH = """() => {
  window.faults = [];
  const list = document.getElementById("messages");
  new MutationObserver(() => {
    const ids = [...list.children].map((item) => item.dataset.id);
    if (new Set(ids).size !== ids.length) window.faults.push(ids);
  }).observe(list, { childList: true });
}"""


@pytest.fixture
def enter(browser: Browser, chat: Chat) -> Iterator[Callable[[str], Page]]:
    """Opens the chat in a browser of its own, under a name, and watches that no message is ever shown twice."""
    contexts = []
    faults: list[str] = []

    def enter(name: str) -> Page:
        context = browser.new_context()
        context.set_default_timeout(_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(chat.page)
        page.get_by_label("Your name").fill(name)
        page.get_by_role("button", name="Join").click()
        expect(page.locator("#title")).to_have_text("general", timeout=_MS)
        page.evaluate(_WATCH)
        return page

    yield enter
    for context in contexts:
        context.close()
    assert faults == []


def texts(page: Page) -> list[str]:
    """What the page shows, from top to bottom."""
    return page.locator("#messages .text").all_text_contents()


def say(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_label("Message", exact=True).press("Enter")


def test_two_browsers_talk_and_both_resume_after_the_server_was_killed_with_nothing_lost_or_doubled(
    chat: Chat, enter: Callable[[str], Page]
) -> None:
    ada, grace = enter("Ada"), enter("Grace")
    expect(grace.locator("#people li")).to_have_text(["Ada", "Grace (you)"], timeout=_MS)
    expect(ada.locator("#people li")).to_have_text(["Ada (you)", "Grace"], timeout=_MS)
    say(ada, "<b>Hello</b>")
    expect(grace.locator("#messages .text")).to_have_text(["<b>Hello</b>"], timeout=_MS)
    say(grace, "Hello yourself")
    expect(ada.locator("#messages .text")).to_have_text(["<b>Hello</b>", "Hello yourself"], timeout=_MS)
    ada.get_by_label("Message", exact=True).press_sequentially("Well")
    expect(grace.locator("#typing")).to_have_text("Ada is typing …", timeout=_MS)

    room = chat.call("GET", "/api/collections/rooms")["docs"][0]["id"]
    posted = [f"line {number}" for number in range(40)]
    reached = threading.Event()

    def post_all() -> None:
        for number, text in enumerate(posted):
            chat.post(room, "Linus", text)
            if number == 12:
                reached.set()

    writer = threading.Thread(target=post_all)
    writer.start()
    assert reached.wait(PATIENCE)
    chat.kill()
    expect(ada.locator("#status")).to_have_attribute("data-status", "waiting", timeout=_MS)
    chat.start()
    writer.join(PATIENCE)
    expected = ["<b>Hello</b>", "Hello yourself", *posted]
    for page in (ada, grace):
        expect(page.locator("#messages .text")).to_have_text(expected, timeout=_MS)
        expect(page.locator("#status")).to_have_text("Connected", timeout=_MS)
    say(ada, "Back again")
    say(grace, "So am I")
    for page in (ada, grace):
        expect(page.locator("#messages .text")).to_have_count(len(expected) + 2, timeout=_MS)
        assert page.evaluate("window.faults") == []
    stored = chat.call("GET", "/api/collections/messages?sort=-created_at&limit=50")["docs"]
    assert texts(ada) == texts(grace) == [message["text"] for message in reversed(stored)]
    expect(grace.locator("#people li")).to_have_text(["Ada", "Grace (you)"], timeout=_MS)


def test_only_the_newest_fifty_messages_are_shown(chat: Chat, enter: Callable[[str], Page]) -> None:
    page = enter("Ada")
    room = chat.call("GET", "/api/collections/rooms")["docs"][0]["id"]
    posted = [f"line {number}" for number in range(55)]
    for text in posted:
        chat.post(room, "Linus", text)
    expect(page.locator("#messages .text")).to_have_text(posted[-50:], timeout=_MS)


def test_a_new_room_appears_for_everybody_and_has_messages_of_its_own(chat: Chat, enter: Callable[[str], Page]) -> None:
    ada, grace = enter("Ada"), enter("Grace")
    say(ada, "In general")
    expect(grace.locator("#messages .text")).to_have_text(["In general"], timeout=_MS)
    ada.get_by_label("New room").fill("engines")
    ada.get_by_role("button", name="Create room").click()
    expect(ada.locator("#title")).to_have_text("engines", timeout=_MS)
    expect(ada.locator("#messages .text")).to_have_count(0)
    grace.get_by_role("link", name="engines").click()
    say(grace, "In engines")
    expect(ada.locator("#messages .text")).to_have_text(["In engines"], timeout=_MS)
    expect(ada.locator("#people li")).to_have_text(["Ada (you)", "Grace"], timeout=_MS)


def test_the_live_page_shows_a_collection_as_it_changes(chat: Chat, browser: Browser) -> None:
    context = browser.new_context()
    context.set_default_timeout(_MS)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(f"{chat.server}/_alyx/live#rooms")
    expect(page.locator("#count")).to_contain_text("0 records", timeout=_MS)
    room = chat.call("POST", "/api/collections/rooms", {"name": "<i>engines</i>"})["id"]
    expect(page.locator("#rows tr")).to_have_count(1, timeout=_MS)
    expect(page.locator("#rows")).to_contain_text("<i>engines</i>")
    chat.post(room, "Ada", "one")
    page.get_by_label("Collection").select_option("messages")
    expect(page.locator("#rows")).to_contain_text("one", timeout=_MS)
    page.get_by_label("Where (CEL)").fill("doc.name == 'Grace'")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#count")).to_contain_text("0 records", timeout=_MS)
    chat.post(room, "Ada", "two")
    chat.post(room, "Grace", "three")
    expect(page.locator("#rows tr")).to_have_count(1, timeout=_MS)
    expect(page.locator("#rows")).to_contain_text("three")
    page.get_by_label("Where (CEL)").fill("doc.nope == 1")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#fault")).to_contain_text("INVALID_FILTER", timeout=_MS)
    context.close()
    assert faults == []
