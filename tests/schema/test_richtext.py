"""What richtext keeps, what it drops, and that no text makes it slow."""

from __future__ import annotations

import contextlib
import time

import pytest

from alyx.schema import richtext

FULL = richtext.cleaner(richtext.resolve("full", (), ()))


def cleaned(text: str, preset: str = "full", allow: tuple[str, ...] = (), deny: tuple[str, ...] = ()) -> str:
    return richtext.cleaner(richtext.resolve(preset, allow, deny))(text)


SAMPLE = "<b>b</b><em>i</em><a href='/x'>a</a><ul><li>l</li></ul><u>u</u><del>s</del><h2>h</h2><ol><li>o</li></ol>"
SAMPLE += "<blockquote>q</blockquote><code>c</code><pre>p</pre><hr><br><p>t</p>"


@pytest.mark.parametrize(
    ("preset", "kept"),
    [
        ("minimal", "<b>b</b><em>i</em>alushoqcp<br><p>t</p>"),
        ("basic", '<b>b</b><em>i</em><a href="/x">a</a><ul><li>l</li></ul>ush<li>o</li>qcp<br><p>t</p>'),
        (
            "standard",
            '<b>b</b><em>i</em><a href="/x">a</a><ul><li>l</li></ul><u>u</u><del>s</del><h2>h</h2><ol><li>o</li></ol>'
            "<blockquote>q</blockquote>cp<br><p>t</p>",
        ),
        ("full", SAMPLE.replace("'", '"')),
    ],
)
def test_a_preset_keeps_its_tags_and_the_text_of_others(preset: str, kept: str) -> None:
    assert cleaned(SAMPLE, preset) == kept


def test_allow_and_deny_change_a_preset() -> None:
    assert (
        cleaned("<b>b</b><i>i</i><h1>h</h1><h2>k</h2>", "minimal", ("h1", "heading"), ("italic", "h2")) == "<b>b</b>i<h1>h</h1>k"
    )
    assert cleaned("<ul><li>a</li></ul><ol><li>b</li></ol>", "full", (), ("ordered_list",)) == "<ul><li>a</li></ul><li>b</li>"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("plain text", "plain text"),
        ("a < b & c > d", "a &lt; b &amp; c &gt; d"),
        ("<script>alert(1)</script>x<style>y</style>", "x"),
        ("<scr<script>x</script>ipt>y", "xipt&gt;y"),
        ("<b onclick=x style='y'>z</b>", "<b>z</b>"),
        ("<a href='https://a.b' target=_blank>x</a>", '<a href="https://a.b">x</a>'),
        ("<a href='mailto:a@b'>x</a>", '<a href="mailto:a@b">x</a>'),
        ("<a href='?a=1&copy=2'>x</a>", '<a href="?a=1&amp;copy=2">x</a>'),
        ("<a href='javascript:x'>x</a>", "<a>x</a>"),
        ("<a href=' java\tscript:x'>x</a>", "<a>x</a>"),
        ("<a href='&#106;avascript:x'>x</a>", "<a>x</a>"),
        ("<a href='data:text/html,x'>x</a>", "<a>x</a>"),
        ("<img src=x onerror=alert(1)>x<iframe>y</iframe>", "xy"),
        ("<!-- a <b> -->x<!DOCTYPE y><?php z ?>", "x"),
        ("<svg><style><img src=x onerror=alert(1)></style></svg>x", "x"),
        ("<b>x", "<b>x</b>"),
        ("x</b>", "x"),
        ("x<b a='", "x"),
        ("<pre>\n\nx</pre>", "<pre>\n\nx</pre>"),
    ],
)
def test_markup_comes_out_harmless_and_well_formed(text: str, kept: str) -> None:
    assert FULL(text) == kept
    assert FULL(kept) == kept


@pytest.mark.parametrize("text", ["<b>" * 101, "<ul><li>" * 101, "<b><p>" * 101 + "</p></b>" * 101, "<b></i>" * 101])
def test_tags_nested_too_deep_are_refused(text: str) -> None:
    with pytest.raises(richtext.TooDeep):
        FULL(text)


@pytest.mark.parametrize(
    "text",
    [
        "<a " + " ".join(f"a{number}" for number in range(40_000)) + ">",
        "<a x='>' " + " ".join(f"a{number}" for number in range(40_000)) + ">",
        "<b>" * 100_000,
        "<table>" + "<p>" * 60_000,
        "<a href='" * 30_000,
        "<" * 300_000,
        "<!--" * 70_000,
        "<script>" * 40_000,
        "<p>" * 100_000,
        "<p>" + "<b><i><u><s><code><em><strong>" * 3 + "<p>x" * 250_000,
        '<p><a href="' + "x" * 500_000 + '">' + "<p>x" * 100_000,
        "<b><i></b></i>" * 70_000,
    ],
    ids=lambda text: text[:12],
)
def test_no_text_makes_cleaning_slow(text: str) -> None:
    started = time.process_time()
    with contextlib.suppress(richtext.TooDeep):
        FULL(text)
    # About 0.1 s on a slow machine; a parser alone takes minutes for some of these.
    assert time.process_time() - started < 1.5


@pytest.mark.parametrize(
    "text",
    [
        "<p>" + "<b><i><u><s><code><em><strong>" * 3 + "<p>x" * 30_000,
        '<p><a href="' + "x" * 100_000 + '">' + "<p>x" * 1_000,
        '<p><a href="' + "&" * 100_000 + '">' + "<p>x" * 1_000,
        "<del>" * 90 + '<a href="' + "x" * 100_000 + '">' + "</del>x" * 90,
        "<b>" * 90 + '<a href="' + "x" * 100_000 + '">' + "</b>x" * 90,
        "<i><b><s>" + '<a href="' + "x" * 100_000 + '">' + "<p></s></b></i>" * 3 + "<p>x" * 1_000,
        '<a href="' + "x" * 100_000 + '">' + "<pre>" * 90 + "</a>x" * 90,
        '<s><a href="' + "x" * 100_000 + '"></s>' + "<p>x" * 1_000,
    ],
    ids=lambda text: text[:12],
)
def test_formatting_left_open_is_not_repeated_without_measure(text: str) -> None:
    with contextlib.suppress(richtext.TooDeep):
        assert len(FULL(text)) < 4 * len(text) + 2 * richtext.REPEATED


def test_a_text_that_a_parser_would_multiply_is_refused_with_the_remedy() -> None:
    with pytest.raises(richtext.TooDeep, match="must close bold, links and the like in the paragraph that opens them"):
        FULL("<p>" + "<b><i><u>" * 3 + "<p>x" * 250_000)


@pytest.mark.parametrize(
    "paragraph",
    [
        "<p>It is <b>bold and <i>slanted</i></b>, says <a href='https://a.example/b?c=d&e=f'>the paper</a>.</p>",
        "<p><b>wrongly <i>nested</b> text</i></p>",
        "<blockquote><b><i><p>A paragraph of some length.</p><p>And another one, a bit longer.</p></i></b></blockquote>",
        "<ul><li><b>one</b><li><del><i>two</i></del></ul>",
    ],
)
def test_long_texts_of_people_are_taken(paragraph: str) -> None:
    text = paragraph * (900_000 // len(paragraph))
    text = paragraph * min(text.count(paragraph), (richtext.MAX_TAGS - 10) // paragraph.count("<"))
    assert FULL(f"<b>{text}</b>").count("</") >= text.count("</")


def test_the_number_of_tags_is_limited() -> None:
    FULL("<br>" * richtext.MAX_TAGS)
    with pytest.raises(richtext.TooDeep, match="must not hold more than 100,000 tags"):
        FULL("<br>" * (richtext.MAX_TAGS + 1))
