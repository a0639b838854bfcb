"""What a richtext field keeps of HTML: which tags a preset allows, and the cleaning itself.

`load` resolves preset, allow and deny into tags; `values` cleans every text that comes in. The cleaning has two steps: a linear
pass of our own that leaves only allowed tags with at most one attribute, then nh3 (a real HTML parser), which closes, nests and
escapes. nh3 alone is safe but not bounded: its time is quadratic in the number of attributes and in the depth of nesting.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable

import nh3

ALWAYS = frozenset({"p", "br"})
FEATURES: dict[str, frozenset[str]] = {
    "bold": frozenset({"b", "strong"}),
    "italic": frozenset({"i", "em"}),
    "link": frozenset({"a"}),
    "bullet_list": frozenset({"ul", "li"}),
    "underline": frozenset({"u"}),
    "strike": frozenset({"s", "del"}),
    "heading": frozenset({"h1", "h2", "h3", "h4", "h5", "h6"}),
    "ordered_list": frozenset({"ol", "li"}),
    "blockquote": frozenset({"blockquote"}),
    "code": frozenset({"code"}),
    "code_block": frozenset({"pre", "code"}),
    "rule": frozenset({"hr"}),
}
"""The features that presets are made of, and that `allow` and `deny` may name, each with its tags."""
_BASIC = ("bold", "italic", "link", "bullet_list")
_STANDARD = (*_BASIC, "underline", "strike", "heading", "ordered_list", "blockquote")
PRESETS: dict[str, tuple[str, ...]] = {
    "minimal": ("bold", "italic"),
    "basic": _BASIC,
    "standard": _STANDARD,
    "full": tuple(FEATURES),
}
DEFAULT_PRESET = "standard"
TAGS = frozenset().union(*FEATURES.values())
NAMES = (*FEATURES, *sorted(TAGS - set(FEATURES)))
"""What `allow` and `deny` may name: features and single tags."""
MAX_DEPTH = 100
"""The deepest nesting of tags that is taken."""
SETTLED = 100_000
"""Up to this length a text is parsed again until it stays the same: wrongly nested tags can need that, as browsers know."""

has_markup = re.compile("[<>&\u00a0\r]").search
"""Whether a text holds anything that cleaning could change."""

_VOID = frozenset({"br", "hr"})
_CLOSED_BY_THEMSELVES = frozenset({"p", "li"})
_SILENT = ("script", "style")
_TAG = re.compile(r"<(?:(/?)([a-zA-Z][^\s/>\0]*)|!--|[!?])")
_ATTRIBUTE = re.compile(r"[\s/]*([^\s/>=][^\s/>=]*|=[^\s/>=]*)?(?:\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|(?![\"'])([^\s>]*)))?")


class TooDeep(ValueError):
    """Tags are nested deeper than MAX_DEPTH."""


def resolve(preset: str, allow: Iterable[str], deny: Iterable[str]) -> frozenset[str]:
    """The tags of a preset, plus those allowed, minus those denied; names are features or tags, and `p` and `br` stay."""
    tags = set(ALWAYS).union(*(FEATURES[name] for name in PRESETS[preset]), *(_tags(name) for name in allow))
    denied = frozenset().union(*(_tags(name) for name in deny))
    # A list item belongs to either kind of list: denying one kind leaves the other whole.
    tags -= denied
    if tags & {"ul", "ol"} and "li" not in deny:
        tags.add("li")
    return frozenset(tags) | ALWAYS


def cleaner(tags: frozenset[str]) -> Callable[[str], str]:
    """A function that keeps the given tags of a text and drops the others; it raises TooDeep. Cleaning twice changes nothing."""
    allowed = tags & (TAGS | ALWAYS)
    parser = nh3.Cleaner(
        tags=set(allowed),
        attributes={"a": {"href"}} if "a" in allowed else {},
        url_schemes={"http", "https", "mailto"},
        link_rel=None,
    )

    def once(text: str) -> str:
        # A parser drops the first line break of a <pre>; one more keeps a text the same however often it is read and written.
        return parser.clean(text).replace("<pre>\n", "<pre>\n\n")

    def clean(text: str) -> str:
        if not has_markup(text):
            return text
        cleaned = once(_reduce(text, allowed))
        if len(cleaned) <= SETTLED:
            for _ in range(4):
                before, cleaned = cleaned, once(cleaned)
                if cleaned == before:
                    break
        return cleaned

    return clean


def _tags(name: str) -> frozenset[str]:
    return FEATURES.get(name) or frozenset({name})


def _reduce(text: str, allowed: frozenset[str]) -> str:
    """The text with only allowed tags, each without attributes but `href` of `a`; in linear time."""
    out: list[str] = []
    open_tags: Counter[str] = Counter()
    depth = at = 0
    while match := _TAG.search(text, at):
        out.append(text[at : match.start()].replace("<", "&lt;"))
        name = (match[2] or "").lower()
        if not name:
            at = _skip_comment(text, match)
            continue
        at, href = _attributes(text, match.end())
        if at < 0:
            return "".join(out)  # the text ends inside a tag: a parser drops that tag
        if name in _SILENT and not match[1]:
            at = _skip_silent(text, at, name)
        elif name in allowed:
            if name not in _VOID and name not in _CLOSED_BY_THEMSELVES:
                step = 1 if not match[1] else -1 if open_tags[name] else 0
                open_tags[name] += step
                depth += step
            if depth > MAX_DEPTH:
                raise TooDeep(f"must not nest tags deeper than {MAX_DEPTH}")
            out.append(f"</{name}>" if match[1] else f'<a href="{href}">' if name == "a" and href is not None else f"<{name}>")
    out.append(text[at:].replace("<", "&lt;"))
    return "".join(out)


def _attributes(text: str, at: int) -> tuple[int, str | None]:
    """Read attributes from `at` to the end of the tag: (where the text goes on, the escaped href), or -1 at the text's end."""
    href: str | None = None
    while True:
        match = _ATTRIBUTE.match(text, at)
        end = match.end() if match else at
        if match and match[1] and match[1].lower() == "href" and href is None:
            value = next((group for group in match.groups()[1:] if group is not None), "")
            href = value.replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
        if end >= len(text):
            return -1, None
        if text[end] == ">":
            return end + 1, href
        if end == at:  # an opened quote without its end
            return -1, None
        at = end


def _skip_comment(text: str, match: re.Match[str]) -> int:
    """Where the text goes on after a comment, a declaration or a processing instruction."""
    if match[0] == "<!--":
        if text.startswith((">", "->"), match.end()):
            return match.end() + (1 if text[match.end()] == ">" else 2)
        end = text.find("-->", match.end())
        return len(text) if end < 0 else end + 3
    end = text.find(">", match.end())
    return len(text) if end < 0 else end + 1


def _skip_silent(text: str, at: int, name: str) -> int:
    """Where the text goes on after the content of a script or style."""
    match = re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE).search(text, at)
    return len(text) if match is None else match.start()
