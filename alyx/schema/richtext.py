"""What a richtext field keeps of HTML: which tags a preset allows, and the cleaning itself.

`load` resolves preset, allow and deny into tags; `values` cleans every text that comes in. The cleaning has two steps: a linear
pass of our own that leaves only allowed tags with at most one attribute, then nh3 (a real HTML parser), which closes, nests and
escapes. nh3 alone is safe but not bounded: its time is quadratic in the number of attributes and in the depth of nesting, and as
HTML asks it opens formatting that nobody closed again in every paragraph that follows, so that 1 MB can become 50.
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
MAX_TAGS = 100_000
"""The most tags that are taken; more would hold the event loop for as long as all other limits together."""
REPEATED = 100_000
"""Characters that the parser may add by opening formatting again, and one more for each character of the text."""
SETTLED = 100_000
"""Up to this length a text is parsed again until it stays the same: wrongly nested tags can need that, as browsers know."""

has_markup = re.compile("[<>&\u00a0\r]").search
"""Whether a text holds anything that cleaning could change."""

_VOID = frozenset({"br", "hr"})
_CLOSED_BY_THEMSELVES = frozenset({"p", "li"})
_FORMATTING = frozenset({"a", "b", "code", "em", "i", "s", "strong", "u"})
"""What HTML opens again when a block around it ends (its "active formatting elements"), of the tags that we know."""
_ADOPTIONS = 8
"""How often one end tag may make a parser move formatting into the blocks that it was wrongly nested with."""
_SILENT = ("script", "style")
_ESCAPED = re.compile("[&\u00a0]")
_TAG = re.compile(r"<(?:(/?)([a-zA-Z][^\s/>\0]*)|!--|[!?])")
_ATTRIBUTE = re.compile(r"[\s/]*([^\s/>=][^\s/>=]*|=[^\s/>=]*)?(?:\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|(?![\"'])([^\s>]*)))?")


class TooDeep(ValueError):
    """Tags are nested deeper than MAX_DEPTH, too many, or left open so that the parser would repeat them without measure."""


class _Nesting:
    """How many tags there are and how deep they stand, by their names alone."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._depth = self._count = 0

    def note(self, name: str, closing: bool) -> None:
        """Take the next tag. Raises TooDeep."""
        self._count += 1
        if self._count > MAX_TAGS:
            raise TooDeep(f"must not hold more than {MAX_TAGS:,} tags")
        if name in _VOID or name in _CLOSED_BY_THEMSELVES:
            return
        step = 1 if not closing else -1 if self._open[name] else 0
        self._open[name] += step
        self._depth += step
        if self._depth > MAX_DEPTH:
            raise TooDeep(f"must not nest tags deeper than {MAX_DEPTH}")


class _Repetition:
    """An upper bound of what the parser will add by opening formatting again (HTML, §13.2.4.3 and §13.2.6.4.7).

    Formatting that is opened outside of every block stays around them and is free; what is opened inside one and not closed there
    is opened again behind its end, and an end tag that crosses a block copies what is open into it. It counts too much where the
    exact number would need the parser itself: a list item that ends by itself stays open here, for one.
    """

    def __init__(self, length: int) -> None:
        self._left = 2 * length + REPEATED
        self._open: list[tuple[str, int, bool, int]] = []
        self._names: Counter[str] = Counter()
        self._exposed = 0
        self._blocks: Counter[str] = Counter()
        self._depth = 0
        self._turn = 0

    def note(self, name: str, closing: bool, size: int) -> None:
        """Take the next tag; size: characters of its start tag as it comes out. Raises TooDeep when the measure is full."""
        if name in _FORMATTING:
            if closing or name == "a":  # a link ends the one before it
                self._end(name)
            if not closing:
                exposed = self._depth > 0
                size += len(name) + 3
                self._open.append((name, size, exposed, self._turn))
                self._names[name] += 1
                self._exposed += size * exposed
        elif name != "br":
            self._turn += 1
            self._spend(self._exposed)
            self._count(name, closing)

    def _end(self, name: str) -> None:
        if not self._names[name]:
            return
        at = len(self._open) - 1
        while self._open[at][0] != name:
            at -= 1
        turn = self._open[at][3]
        crossed = self._depth if turn != self._turn else 0
        if crossed or at < len(self._open) - 1:
            total = sum(size for _, size, _, _ in self._open)
            self._spend((1 + min(crossed, _ADOPTIONS)) * total)
            # What was wrongly nested may be opened again inside a block, whatever it was opened in.
            self._open = [(name, size, True, turn) for name, size, _, turn in self._open]
            self._exposed = total
        if crossed >= _ADOPTIONS:
            return  # the parser gives up at this many, and the formatting stays open
        _, size, exposed, _ = self._open.pop(at)
        self._exposed -= size * exposed
        self._names[name] -= 1

    def _count(self, name: str, closing: bool) -> None:
        """Keep the number of blocks that may be open; a paragraph is ended by every block that begins."""
        step = 1
        if closing:
            step = -1 if self._blocks[name] else 0
        elif name == "hr" or (name == "p" and self._blocks["p"]):
            step = 0
        self._blocks[name] += step
        self._depth += step

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise TooDeep("must close bold, links and the like in the paragraph that opens them")


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
    nesting, repetition = _Nesting(), _Repetition(len(text))
    at = 0
    while match := _TAG.search(text, at):
        out.append(text[at : match.start()].replace("<", "&lt;"))
        name = (match[2] or "").lower()
        if not name:
            at = _skip_comment(text, match)
            continue
        at, href = _attributes(text, match.end())
        if at < 0:
            return "".join(out)  # the text ends inside a tag: a parser drops that tag
        closing = bool(match[1])
        if name in _SILENT and not closing:
            at = _skip_silent(text, at, name)
        elif name in allowed:
            tag = f'<a href="{href}">' if name == "a" and href is not None else f"<{name}>"
            nesting.note(name, closing)
            repetition.note(name, closing, len(tag) + 5 * len(_ESCAPED.findall(tag)))
            out.append(f"</{name}>" if closing else tag)
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
