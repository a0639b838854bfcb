"""Random rules, each with its twin for the oracle, and random records full of nulls and extremes.

The twin differs only where Alyx's meaning is a rule of its own: a null field of the caller, or one in its claims, is absent (and
`auth.x == null` is `!has(auth.x)`), decimals are strings that sort like them, a double that is not finite is an error.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from alyx.schema.model import Type
from tests.rules.conftest import collection, schema

NULLABLE = {
    name: {"type": kind, "nullable": True}
    for name, kind in (("n", Type.INT), ("g", Type.FLOAT), ("t", Type.STRING), ("c", Type.BOOL), ("v", Type.TIMESTAMP))
}
TAGS = {"type": Type.SELECT, "select_values": ("a", "b", "é"), "max_select": 3}
DOCS = collection(
    "docs",
    i=Type.INT,
    f=Type.FLOAT,
    s=Type.STRING,
    b=Type.BOOL,
    u=Type.TIMESTAMP,
    p={"type": Type.DECIMAL, "scale": 2},
    q={"type": Type.DECIMAL, "scale": 4, "nullable": True},
    l=TAGS,
    k={**TAGS, "nullable": True},
    j=Type.JSON,
    h={"type": Type.JSON, "nullable": True},
    **NULLABLE,
)
ROWS = collection("rows", i=Type.INT, s=Type.STRING, b=Type.BOOL, u=Type.TIMESTAMP, f=Type.FLOAT, **NULLABLE)
SCHEMA = schema(DOCS, ROWS)

INTS = [0, 1, -1, 2, 3, 5, 7, -7, 2**63 - 1, -(2**63), 2**53 + 1, 2**53, 10**6]
FLOATS = [0.0, 1.0, -1.5, 2.5, 3.0, 1e150, -1e150, 9007199254740993.0, 0.1, 1e-300, 9.223372036854775807e18]
TEXTS = ["", "a", "A", "ab", "aB c", "é", "É", "😀", "a😀b", " x ", "published", "%", "a_b", "1", "true", "ｆ", "e\u0301"]
TIMES = [
    "0001-01-01T00:00:00.000000Z",
    "9999-12-31T23:59:59.999999Z",
    "1969-12-31T23:59:59.500000Z",
    "1970-01-01T00:00:00.000000Z",
    "2026-03-29T00:59:59.999999Z",
    "2026-03-29T01:00:00.000000Z",
    "2026-10-25T00:30:00.123456Z",
    "2024-02-29T12:00:00.000001Z",
    "2026-11-20T10:00:00.000000Z",
]
DECIMALS = ["0.00", "1.00", "-1.00", "9.50", "10.50", "-0.01", "0.01", "92233720368547758.07", "-92233720368547758.08", "3.00"]
SPANS = ["1s", "1h", "-1h", "24h", "1.5s", "1ms", "-90m", "720h", "0s", "1us"]
ZONES = ["Europe/Berlin", "America/New_York", "+05:30", "-11:00", "UTC", "Asia/Kathmandu"]
GETTERS = [
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
]


class Pair(NamedTuple):
    """A text for Alyx and one for the oracle."""

    ours: str
    theirs: str


def quoted(text: str) -> str:
    """A CEL string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def sortable(value: Decimal | None) -> str | None:
    """A decimal as a text of fixed width that sorts like it."""
    return None if value is None else f"{int(value * 10**4) + 10**30:032}"


class Rules:
    """A source of rules over DOCS and ROWS."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.sources = ["doc"]
        self.depth_of_exists = 0

    def rule(self) -> Pair:
        return self.bool(3)

    def pick(self, *makers: Callable[[], Pair]) -> Pair:
        return self.random.choice(makers)()

    def both(self, text: str) -> Pair:
        return Pair(text, text)

    def form(self, template: str, *parts: Pair) -> Pair:
        return Pair(template.format(*(part.ours for part in parts)), template.format(*(part.theirs for part in parts)))

    def field(self, *names: str) -> Pair:
        return self.both(f"{self.random.choice(self.sources)}.{self.random.choice(names)}")

    # Conditions ---------------------------------------------------------------------------------------------------------

    def bool(self, depth: int) -> Pair:
        leaves = (self.compare, self.compare, self.compare, self.texts, self.member, self.flag, self.json, self.caller, self.many)
        if depth == 0:
            return self.pick(*leaves)
        return self.pick(
            *leaves,
            lambda: self.form(f"({{}} {self.random.choice(['&&', '||'])} {{}})", self.bool(depth - 1), self.bool(depth - 1)),
            lambda: self.form("({} && {} || {})", self.bool(depth - 1), self.bool(depth - 1), self.bool(depth - 1)),
            lambda: self.form("!({})", self.bool(depth - 1)),
            lambda: self.form("({} ? {} : {})", self.bool(depth - 1), self.bool(depth - 1), self.bool(depth - 1)),
            lambda: self.form(f"(({{}}) {self.equality()} ({{}}))", self.strict(depth - 1), self.strict(depth - 1)),
            lambda: self.form(f"(({{}}) {self.equality()} {self.random.choice(['true', 'false'])})", self.strict(depth - 1)),
            lambda: self.exists(depth - 1),
        )

    def strict(self, depth: int) -> Pair:
        """A condition that is no nullable bool."""
        while (made := self.bool(depth)).ours.endswith(".c") or "?" in made.ours:
            pass
        return made

    def equality(self) -> str:
        return self.random.choice(["==", "!="])

    def sign(self) -> str:
        return self.random.choice(["==", "!=", "<", "<=", ">", ">="])

    def compare(self) -> Pair:
        kind = self.random.choice(
            [self.int, self.int, self.float, self.str, self.time, self.span, self.mixed, self.decimal, self.null]
        )
        if kind in (self.mixed, self.decimal, self.null):
            return kind(1)
        return self.form(f"{{}} {self.sign()} {{}}", kind(2), kind(2))

    def mixed(self, _depth: int) -> Pair:
        sides = [self.int(1), self.float(1)]
        if any(side.ours.lstrip("-(")[0].isdigit() for side in sides):
            sides = [self.field("i", "n"), self.random.choice([self.field("f", "g"), self.both("3.0"), self.both("2.5")])]
        self.random.shuffle(sides)
        if sides[0].ours in ("3.0", "2.5"):
            sides.reverse()
        return self.form(f"{{}} {self.sign()} {{}}", *sides)

    def decimal(self, _depth: int) -> Pair:
        def column() -> Pair:
            name = self.random.choice("pq")
            return Pair(f"doc.{name}", f"doc.{name}")

        def literal() -> Pair:
            text = self.random.choice(["0", "1", "9.5", "10.50", "0.01", "-0.01", "3", "9.501", "0.0001", "-1"])
            return Pair(text, quoted(sortable(Decimal(text)) or ""))

        def whole() -> Pair:
            name = self.random.choice("in")
            return Pair(f"doc.{name}", f"doc.{name}_decimal")

        sides = [column(), self.random.choice([column, literal, whole])()]
        self.random.shuffle(sides)
        if self.random.random() < 0.2:
            return self.form("{} in [{}, {}]", column(), literal(), literal())
        return self.form(f"{{}} {self.sign()} {{}}", *sides)

    def null(self, _depth: int) -> Pair:
        made = self.pick(
            lambda: self.field("n", "g", "t", "c", "v"), lambda: self.both(self.random.choice(["doc.q", "doc.k", "doc.h"]))
        )
        return self.form(f"{{}} {self.equality()} null", made)

    def flag(self) -> Pair:
        return self.pick(
            lambda: self.field("b", "c"),
            lambda: self.form(f"{{}} {self.equality()} {{}}", self.field("b", "c"), self.field("b", "c")),
            lambda: self.form(f"{{}} {self.equality()} true", self.field("b", "c")),
            lambda: self.both("auth.verified"),
            lambda: self.form("{} == auth.verified", self.field("b", "c")),
        )

    def texts(self) -> Pair:
        name = self.random.choice(["startsWith", "endsWith", "contains"])
        return self.pick(
            lambda: self.form(f"{{}}.{name}({{}})", self.str(1), self.str(1)),
            lambda: self.form("{}.matches('^a.*b$|é|[0-9]+')", self.str(1)),
        )

    def member(self) -> Pair:
        def of(kind: Callable[[int], Pair]) -> Pair:
            items = [kind(0) for _ in range(self.random.randint(0, 3))]
            if self.random.random() < 0.25:
                items.append(self.both("null"))
            return self.form("{} in [" + ", ".join("{}" for _ in items) + "]", kind(1), *items)

        return self.pick(
            lambda: of(self.int),
            lambda: of(self.str),
            lambda: of(self.time),
            lambda: self.form(f"{{}} in doc.{self.random.choice('lk')}", self.str(1)),
            lambda: self.form("{} in auth.claims.teams", self.str(0)),
        )

    def many(self) -> Pair:
        name = self.random.choice("lk")
        macro = self.random.choice(["exists", "all"])
        return self.pick(
            lambda: self.form(f"doc.{name}.{macro}(e, e {self.sign()} {{}})", self.str(1)),
            lambda: self.both(f"size(doc.{name}) {self.sign()} {self.random.randint(0, 3)}"),
            lambda: self.form(f"doc.{self.random.choice('jh')}.list.{macro}(e, e {self.sign()} {{}})", self.scalar()),
            lambda: self.form(f"doc.{name}[0] {self.sign()} {{}}", self.str(0)),
        )

    def scalar(self) -> Pair:
        return self.pick(lambda: self.int(0), lambda: self.str(0), lambda: self.float(0), lambda: self.field("b", "c"))

    def json(self) -> Pair:
        base = self.random.choice(["doc.j", "doc.h"])
        path = base + self.random.choice([".a", ".b", ".o.x", ".list[1]", ".zz", ".o", ".list", "['a']"])
        return self.pick(
            lambda: self.form(f"{path} {self.sign()} {{}}", self.scalar()),
            lambda: self.form(f"{{}} {self.sign()} {path}", self.scalar()),
            lambda: self.both(f"{path} {self.equality()} null"),
            lambda: self.both(f"has({base}{self.random.choice(['.a', '.b', '.o.x', '.zz', '.zz.y', '.o'])})"),
            lambda: self.form(f"{{}} in {base}{self.random.choice(['.list', '.o', '.a', ''])}", self.scalar()),
            lambda: self.form(f"{path} + 1 {self.sign()} {{}}", self.int(0)),
            lambda: self.form(f"{path}.startsWith({{}})", self.str(0)),
            lambda: self.both(f"size({path}) {self.sign()} {self.random.randint(0, 3)}"),
            lambda: self.form(f"{path} in [{{}}, {{}}]", self.int(0), self.int(0)),
        )

    def caller(self) -> Pair:
        name = self.random.choice(["id", "email", "role"])
        absent = self.random.choice(["==", "!="])
        return self.pick(
            lambda: self.form(f"auth.{name} {self.equality()} {{}}", self.field("s", "t")),
            lambda: self.form(f"{{}} {self.equality()} auth.{name}", self.field("s", "t")),
            lambda: Pair(f"auth.{name} {absent} null", f"{'!' if absent == '==' else ''}has(auth.{name})"),
            lambda: self.both(f"has(auth.{name})"),
            lambda: self.form(f"auth.claims.level {self.sign()} {{}}", self.int(1)),
            lambda: self.form(f"auth.claims.team {self.equality()} {{}}", self.field("s", "t", "i")),
            lambda: self.form(
                f"{{}} - duration('1h') {self.sign()} {{}}", Pair("request.time", "timestamp(request.time)"), self.time(1)
            ),
            lambda: self.both(f"has(auth.claims.{self.random.choice(['level', 'team', 'zz'])})"),
            self.claim,
            lambda: self.form(f"auth.claims.teams.exists(e, e {self.sign()} {{}})", self.str(0)),
        )

    def claim(self) -> Pair:
        """A claim beside null."""
        path = self.random.choice(
            ["auth.claims.level", "auth.claims.team", "auth.claims.zz", "auth.claims.of.x", "auth.claims.of.y"]
        )
        absent = self.random.choice(["==", "!="])
        never = "!" if absent == "==" else ""
        inside = f"has(e.x) {self.random.choice(['&&', '||'])} "
        return self.pick(
            lambda: Pair(f"{path} {absent} null", f"{never}has({path})"),
            lambda: Pair(f"null {absent} {path}", f"{never}has({path})"),
            lambda: Pair(f"auth.claims['level'] {absent} null", f"{never}has(auth.claims.level)"),
            lambda: Pair(f"auth.claims.list.exists(e, e.x {absent} null)", f"auth.claims.list.exists(e, {never}has(e.x))"),
            lambda: self.form(f"auth.claims.list.exists(e, {inside}e.x {self.equality()} {{}})", self.field("t", "n")),
            lambda: self.form(f"{path} {self.equality()} {{}}", self.field("t", "n", "c", "g")),
            lambda: self.form(f"{{}} {self.random.choice(['==', '!=', 'in'])} {path}", self.field("t", "n", "s")),
            lambda: self.both(f"size(auth.claims.{self.random.choice(['list', 'of', 'teams'])}) {self.sign()} 1"),
            lambda: self.form("{} in auth.claims.list", self.field("t", "n", "c")),
        )

    def exists(self, depth: int) -> Pair:
        if self.depth_of_exists >= 2:
            return self.bool(depth)
        variable = f"r{self.depth_of_exists}"
        self.depth_of_exists += 1
        self.sources.append(variable)
        inner = self.bool(depth)
        self.sources.pop()
        self.depth_of_exists -= 1
        return Pair(f"collections.rows.exists({variable}, {inner.ours})", f"rows.exists({variable}, {inner.theirs})")

    # Values -------------------------------------------------------------------------------------------------------------

    def int(self, depth: int) -> Pair:
        leaves = (lambda: self.field("i", "n"), lambda: self.both(str(self.random.choice(INTS[:8]))))
        if depth <= 0:
            return self.pick(*leaves)
        return self.pick(
            *leaves,
            *leaves,
            lambda: self.form(f"({{}} {self.random.choice('+-*/%')} {{}})", self.int(depth - 1), self.int(depth - 1)),
            lambda: self.form("(-{})", self.field("i", "n")),
            lambda: self.form("size({})", self.str(depth - 1)),
            lambda: self.form(f"{{}}.{self.random.choice(GETTERS)}()", self.time(depth - 1)),
            lambda: self.form(f"{{}}.{self.random.choice(GETTERS)}('{self.random.choice(ZONES)}')", self.time(depth - 1)),
            lambda: self.form("({} ? {} : {})", self.compare_plain(), self.int(depth - 1), self.int(depth - 1)),
            lambda: self.form("{}.indexOf({})", self.str(0), self.str(0)),
            lambda: self.form("{}.getMinutes()", self.span(depth - 1)),
            lambda: self.form("int({})", self.float(depth - 1)),
            lambda: self.form("int({})", self.time(depth - 1)),
        )

    def compare_plain(self) -> Pair:
        return self.form(f"{{}} {self.sign()} {{}}", self.field("i", "n"), self.int(0))

    def float(self, depth: int) -> Pair:
        leaves = (lambda: self.field("f", "g"), lambda: self.both(str(self.random.choice([0.0, 1.0, -1.5, 2.5, 0.1]))))
        if depth <= 0:
            return self.pick(*leaves)
        return self.pick(*leaves, *leaves, lambda: self.arithmetic(depth), lambda: self.form("double({})", self.int(depth - 1)))

    def arithmetic(self, depth: int) -> Pair:
        left, right, sign = self.float(depth - 1), self.float(depth - 1), self.random.choice("+-*/")
        theirs = f"[{left.theirs} {sign} {right.theirs}].map(w, w - w == 0.0 ? w : double('error'))[0]"
        return Pair(f"({left.ours} {sign} {right.ours})", theirs)

    def str(self, depth: int) -> Pair:
        leaves = (
            lambda: self.field("s", "t"),
            lambda: self.both(quoted(self.random.choice(TEXTS))),
            lambda: self.both(f"auth.{self.random.choice(['id', 'email', 'role'])}"),
        )
        if depth <= 0:
            return self.pick(*leaves)
        return self.pick(
            *leaves,
            lambda: self.form("({} + {})", self.str(depth - 1), self.str(depth - 1)),
            lambda: self.form(f"{{}}.{self.random.choice(['lowerAscii', 'upperAscii', 'trim'])}()", self.str(depth - 1)),
            lambda: self.form("{}.substring({})", self.str(depth - 1), self.int(0)),
            lambda: self.slice(depth),
            lambda: self.form("{}.charAt({})", self.str(depth - 1), self.int(0)),
            lambda: self.form("{}.replace('a', '{}')", self.str(depth - 1), self.both(self.random.choice(["", "b", "é"]))),
            lambda: self.form("string({})", self.int(0)),
        )

    def time(self, depth: int) -> Pair:
        leaves = (
            self.moment,
            lambda: self.both(f"timestamp('{self.random.choice(TIMES)}')"),
            lambda: Pair("request.time", "timestamp(request.time)"),
        )
        if depth <= 0:
            return self.pick(*leaves)
        return self.pick(
            *leaves, lambda: self.form(f"({{}} {self.random.choice('+-')} {{}})", self.time(depth - 1), self.span(depth - 1))
        )

    def slice(self, depth: int) -> Pair:
        """The oracle refuses an end equal to the size, which the extension's definition allows."""
        text, start, end = self.str(depth - 1), self.int(0), self.int(0)
        cut = f"w.substring({start.theirs}, {end.theirs})"
        theirs = f"[{text.theirs}].map(w, {end.theirs} == size(w) ? w.substring({start.theirs}) : {cut})[0]"
        return Pair(f"{text.ours}.substring({start.ours}, {end.ours})", theirs)

    def moment(self) -> Pair:
        """A timestamp field; the oracle's binding takes no moments inside maps, so it reads the text."""
        name = self.field("u", "v").ours
        return Pair(name, f"({name} == null ? null : timestamp({name}))")

    def span(self, depth: int) -> Pair:
        def leaf() -> Pair:
            return self.both(f"duration('{self.random.choice(SPANS)}')")

        if depth <= 0:
            return leaf()
        return self.pick(
            leaf,
            lambda: self.form("({} - {})", self.time(depth - 1), self.time(depth - 1)),
            lambda: self.form("({} + {})", self.span(depth - 1), self.span(depth - 1)),
        )


class Records:
    """A source of records and callers, in API form."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def value(self, kind: Type) -> Any:
        pools: dict[Type, list[Any]] = {
            Type.INT: INTS,
            Type.FLOAT: FLOATS,
            Type.STRING: TEXTS,
            Type.BOOL: [True, False],
            Type.TIMESTAMP: TIMES,
            Type.DECIMAL: DECIMALS,
        }
        if kind is Type.SELECT:
            return self.random.sample(["a", "b", "é"], self.random.randint(0, 3))
        return self.json() if kind is Type.JSON else self.random.choice(pools[kind])

    def json(self) -> Any:
        pick = self.random.choice
        scalars = [None, True, False, 0, 1, 3, 2**53 + 1, 2**63 - 1, 1.0, 2.5, "a", "", "é", "1"]
        full = {
            "a": pick(scalars),
            "b": pick([*scalars, [], ["a"], {"x": 1}]),
            "o": pick([{"x": pick(scalars)}, {}, {"a": 1, "é": 2}, pick(scalars)]),
            "list": pick([[], [1, "a", None], ["a", "b"], [1.0, 3], [True], pick(scalars), {"a": 1}, [[1], {"x": 2}]]),
        }
        return pick([{key: value for key, value in full.items() if self.random.random() < 0.8}] * 9 + [scalars[3]])

    def record(self, number: int, of: Any = DOCS) -> dict[str, Any]:
        made: dict[str, Any] = {"id": f"00000000-0000-7000-8000-{number:012}"}
        for name, field in of.fields.items():
            if name == "id":
                continue
            made[name] = None if field.nullable and self.random.random() < 0.35 else self.value(field.type)
            if field.type is Type.DECIMAL and field.scale == 4 and made[name] is not None:
                made[name] = self.random.choice(
                    ["0.0000", "1.0000", "9.5010", "-0.0001", "3.0000", "922337203685477.5807", "0.0100"]
                )
        return made

    def caller(self) -> dict[str, Any]:
        made: dict[str, Any] = {
            "id": self.random.choice(TEXTS),
            "email": self.random.choice(TEXTS),
            "role": self.random.choice(["admin", "user", "a"]),
            "verified": self.random.choice([True, False]),
            "claims": self.random.choice(
                [
                    {},
                    {"level": 3, "team": "a", "teams": ["a", "é"], "list": [{"x": None}, {"x": 1}], "of": {"x": None, "y": 1}},
                    {"level": "x", "team": 1, "teams": [1, "a"], "list": [None, "a", {"x": "é"}], "of": None},
                    {"level": None, "team": None, "teams": ["a", None], "list": [None], "of": {"x": "a", "y": [None]}},
                ]
            ),
        }
        chance = self.random.choice([0, 0.3, 1])
        return {name: value for name, value in made.items() if self.random.random() >= chance}


def oracle_caller(caller: Any) -> Any:
    """A caller as the oracle takes it: without its nulls, at any depth."""
    if isinstance(caller, dict):
        return {key: oracle_caller(value) for key, value in caller.items() if value is not None}
    if isinstance(caller, list):
        return [oracle_caller(value) for value in caller if value is not None]
    return caller


def oracle_record(record: dict[str, Any]) -> dict[str, Any]:
    """A record as the oracle takes it: decimals as sortable texts."""
    made = dict(record)
    for name in ("p", "q"):
        if name in made:
            made[name] = sortable(None if made[name] is None else Decimal(made[name]))
    for name in ("i", "n"):
        made[f"{name}_decimal"] = sortable(None if made[name] is None else Decimal(made[name]))
    return made
