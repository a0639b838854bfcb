"""Random rules that lean on the caller, and the check of what an Audience promises about them."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, NamedTuple

import apsw

from alyx.database import tables
from alyx.database.compile import Query, compile_query
from alyx.rules.audience import Audience
from alyx.rules.book import Rule, RuleFault, compile_rule
from alyx.rules.elsewhere import Elsewhere
from alyx.schema.model import RuleText
from tests.rules.differential import METADATA, NOW, database
from tests.rules.random_rules import DOCS, ROWS, SCHEMA, Pair, Records, Rules

REQUEST = {"time": NOW, "ip": "::1", "method": "GET", "body": None}
NAMES = ("id", "email", "role")
WORDS = ("a", "b", "é", "admin", "user", "")


class CallerRules(Rules):
    """Rules in which every third leaf is about the caller. within: whether they look into other collections."""

    def __init__(self, seed: int, *, within: bool) -> None:
        super().__init__(seed)
        self.within = within

    def bool(self, depth: int) -> Pair:
        if self.random.random() < 0.35:
            return self.pick(self.owner, self.owner, self.constant, self.listed, self.odd, self.caller)
        if self.within and depth and self.random.random() < 0.4:
            return self.exists(depth - 1)
        return super().bool(depth)

    def rule(self) -> Pair:
        """Every fourth begins with a condition that may fix a field."""
        if self.random.random() < 0.75:
            return super().rule()
        fixed = [
            f"doc.{self.random.choice('st')} == 'a'",
            "doc.t in ['a', null, 'é']",
            "doc.b",
            "!doc.c",
            "(doc.n == 1 || doc.n == 3)",
        ]
        fixed += ["doc.v == timestamp('1970-01-01T01:00:00+01:00')", "doc.p == 1.00", "!(doc.s != 'a' || doc.b)", "doc.t == null"]
        return self.form(f"{self.random.choice(fixed)} && {{}}", self.bool(2))

    def name(self) -> str:
        return f"auth.{self.random.choice(NAMES)}"

    def owner(self) -> Pair:
        sides = [self.name(), self.field("s", "t").ours]
        self.random.shuffle(sides)
        return self.both(f" {self.equality()} ".join(sides))

    def constant(self) -> Pair:
        word = self.random.choice(WORDS)
        return self.pick(
            lambda: self.both(f"{self.name()} {self.equality()} '{word}'"),
            lambda: self.both(f"{self.name()} in ['{word}', 'b']"),
            lambda: self.both(f"{self.name()} {self.equality()} null"),
            lambda: self.both("auth.verified"),
            lambda: self.both("auth.verified != true"),
            lambda: self.both(f"({self.name()} == '{word}') == (request.ip == '::1')"),
            lambda: self.both(f"({self.name()} != null) == (request.ip == '::1')"),
        )

    def listed(self) -> Pair:
        column, words = self.random.choice("lk"), [self.name(), *self.random.sample(["doc.s", "doc.t", "'a'", "null"], 2)]
        macro, json, paths = self.random.choice(["exists", "all"]), self.random.choice("jh"), [".a", ".b", ".o", ".list", ".o.x"]
        return self.pick(
            lambda: self.both(f"{self.name()} in doc.{column}"),
            lambda: self.both(f"doc.{column}.{macro}(x, x {self.equality()} {self.name()})"),
            lambda: self.both(f"doc.{column}.{macro}(x, x == doc.s || {self.name()} in [x, doc.t])"),
            lambda: self.both(f"doc.{column}[{self.random.randint(0, 2)}] {self.equality()} {self.name()}"),
            lambda: self.both(f"{self.name()} {self.equality()} doc.{json}{self.random.choice(paths)}"),
            lambda: self.both(f"{self.name()} in doc.{json}{self.random.choice(['', *paths])}"),
            lambda: self.both(f"doc.{json}{self.random.choice(paths)}.{macro}(x, x {self.equality()} {self.name()})"),
            lambda: self.both(f"doc.{json}.list.{macro}(x, x.exists(y, y == {self.name()}) || {self.name()} in [x, 'a'])"),
            lambda: self.both(f"{words[0]} in [{words[1]}, {words[2]}]"),
            lambda: self.both(f"doc.s in [{', '.join(words)}]"),
            lambda: self.both(f"{words[0]} in []"),
        )

    def odd(self) -> Pair:
        """Uses that split classes."""
        sign = self.random.choice(["<", "<=", ">", ">="])
        return self.pick(
            lambda: self.both(f"{self.name()} {sign} doc.s"),
            lambda: self.both(f"{self.name()} {self.equality()} {self.name()}"),
            lambda: self.both(f"{self.name()}.lowerAscii() {self.equality()} doc.s"),
            lambda: self.both(f"doc.s.startsWith({self.name()})"),
            lambda: self.both(f"{self.name()} {self.equality()} doc.j.a"),
            lambda: self.both(f"{self.name()} in doc.j.list"),
            lambda: self.both(f"(doc.b ? {self.name()} : 'a') {self.equality()} doc.s"),
            lambda: self.both(f"doc.l[size({self.name()})] {self.equality()} {self.name()}") if not self.within else self.owner(),
        )

    def exists(self, depth: int) -> Pair:
        if self.depth_of_exists >= 2:
            return self.owner()
        variable = f"r{self.depth_of_exists}"
        self.depth_of_exists += 1
        outer = self.sources
        parts = []
        for _ in range(self.random.choice([0, 1, 1, 1, 2])):
            sides = [self.name(), f"{variable}.{self.random.choice('st')}"]
            self.random.shuffle(sides)
            parts.append(" == ".join(sides))
        for _ in range(self.random.choice([0, 1, 1, 2])):
            self.sources = [*outer, variable]
            known = self.random.choice(self.sources)
            joined = f"{variable}.{self.random.choice('st')} == {known}.{self.random.choice('st')}"
            parts.append(self.random.choice([joined, self.bool(min(depth, 1)).ours]))
        self.random.shuffle(parts)
        if self.random.random() < 0.3:
            sides = [f"{variable}.s == auth.id", f"{variable}.t == auth.id", self.bool(0).ours, self.owner().ours]
            one, other = self.random.sample(sides, 2)
            parts.append(f"({one} && {self.bool(0).ours} || {other})")
        self.sources = outer
        self.depth_of_exists -= 1
        never = self.random.choice(["", "", "!"])
        return self.both(f"{never}collections.rows.exists({variable}, {' && '.join(parts) or 'true'})")


class Callers(Records):
    """Records and callers that share a few words."""

    def caller(self) -> dict[str, Any]:
        made = super().caller()
        chance = self.random.choice([0, 0.1, 0.5])
        words = {name: None if self.random.random() < chance else self.random.choice([*WORDS, "x", "x", "y\0"]) for name in NAMES}
        return made | words

    def record(self, number: int, of: Any = DOCS) -> dict[str, Any]:
        made = super().record(number, of)
        for name in ("s", "t"):
            if made[name] is not None and self.random.random() < 0.8:
                made[name] = self.random.choice(WORDS)
        return made


class Broken(NamedTuple):
    """A promise that was not kept."""

    promise: str
    rule: str
    doc: Mapping[str, Any]
    caller: Mapping[str, Any]
    other: Any


class Tally(NamedTuple):
    """What a run found; counts tell that it looked at something."""

    broken: list[Broken]
    counts: Counter[str]


def rules(count: int, seed: int, *, within: bool, counts: Counter[str]) -> Iterable[Rule]:
    """Random rules that can stand and read the caller."""
    source = CallerRules(seed * 7_919 + within, within=within)
    while counts["rules"] < count:
        text = source.rule().ours
        try:
            # Not a read rule, so that no time is spent on proving what differential.py proves.
            rule = compile_rule(SCHEMA, METADATA, DOCS, "create", RuleText(text))
        except RuleFault:
            counts["refused"] += 1
            continue
        if rule.auth_fields and rule.looks_elsewhere is within:
            counts["rules"] += 1
            yield rule


def of_records(count: int, seed: int) -> Tally:
    """Rules over the record alone, judged in Python."""
    counts: Counter[str] = Counter()
    broken: list[Broken] = []
    records = Callers(seed)
    for rule in rules(count, seed, within=False, counts=counts):
        audience = Audience([rule])
        docs = [records.record(number) for number in range(8)]
        callers = [records.caller() for _ in range(12)]
        verdicts = [[rule.judge(caller, doc, REQUEST) for doc in docs] for caller in callers]
        nobodies = [[rule.judge(audience.nobody(caller), doc, REQUEST) for doc in docs] for caller in callers]
        named = [audience.occurring(doc) for doc in docs]
        broken += _compared(rule, audience, docs, callers, verdicts, nobodies, named, counts)
        broken += _fixed(rule, audience, docs, callers, verdicts, counts)
    return Tally(broken, counts)


def _compared(
    rule: Rule,
    audience: Audience,
    docs: list[dict[str, Any]],
    callers: list[dict[str, Any]],
    verdicts: list[list[bool]],
    nobodies: list[list[bool]],
    named: list[dict[str, set[str]]],
    counts: Counter[str],
) -> Iterable[Broken]:
    counts["indexed"] += bool(audience.indexed_fields)
    seen: dict[Any, int] = {}
    shapes: dict[Any, int] = {}
    for at, caller in enumerate(callers):
        shape, values = audience.shape(caller), tuple(caller.get(name) for name in audience.indexed_fields)
        same, classmate = seen.setdefault((shape, values), at), shapes.setdefault(shape, at)
        counts["alike"] += same != at
        counts["classmates"] += classmate != at
        for number, doc in enumerate(docs):
            if verdicts[at][number] is not verdicts[same][number]:
                yield Broken("same shape and values", rule.text, doc, caller, callers[same])
            if nobodies[at][number] is not nobodies[classmate][number]:
                yield Broken("same nobody", rule.text, doc, caller, callers[classmate])
            if any(caller.get(name) in named[number][name] for name in audience.indexed_fields):
                counts["named"] += 1
            elif audience.indexed_fields:
                counts["unnamed"] += 1
                if verdicts[at][number] is not nobodies[at][number]:
                    yield Broken("nobody", rule.text, doc, caller, audience.nobody(caller))


def _fixed(
    rule: Rule,
    audience: Audience,
    docs: list[dict[str, Any]],
    callers: list[dict[str, Any]],
    verdicts: list[list[bool]],
    counts: Counter[str],
) -> Iterable[Broken]:
    counts["fixed"] += bool(audience.fixed)
    for column, values in audience.fixed.items():
        for number, doc in enumerate(docs):
            if doc[column] not in values and any(found[number] for found in verdicts):
                yield Broken("fixed", rule.text, doc, callers[0], (column, values))


# Other collections --------------------------------------------------------------------------------------------------------


def of_collections(count: int, seed: int) -> Tally:
    """Rules that look elsewhere, judged by SQLite; then a row of the other collection changes."""
    counts: Counter[str] = Counter()
    broken: list[Broken] = []
    records = Callers(seed)
    for rule in rules(count, seed, within=True, counts=counts):
        audience = Audience([rule])
        docs = [records.record(number) for number in range(5)]
        rows = [records.record(number, ROWS) for number in range(records.random.choice([0, 1, 3, 5]))]
        callers = [records.caller() for _ in range(6)]
        connection = database(docs, rows)
        judge = Judge(rule, connection, docs)
        verdicts = [judge.verdicts(caller) for caller in callers]
        nobodies = [judge.verdicts(audience.nobody(caller)) for caller in callers]
        queries = _audiences(audience)
        named = [_named(connection, audience, queries, doc, counts) for doc in docs]
        broken += _compared(rule, audience, docs, callers, verdicts, nobodies, named, counts)
        before, after = change(connection, records, rows)
        for caller, old in zip(callers, verdicts, strict=True):
            new = judge.verdicts(caller)
            concerned = any(_concerns(item, caller, (before, after)) for item in audience.elsewhere)
            counts["concerned" if concerned else "unconcerned"] += 1
            counts["turned"] += new != old
            if new != old and not concerned:
                broken.append(Broken("change", rule.text, docs[0], caller, (before, after)))
        connection.close()
    return Tally(broken, counts)


class Judge:
    """The verdicts of a rule by SQL, for records given as values."""

    def __init__(self, rule: Rule, connection: apsw.Connection, docs: list[dict[str, Any]]) -> None:
        self.rule = rule
        self.connection = connection
        self.docs = [rule.doc_binds(doc) for doc in docs]
        self.queries: dict[Hashable, Query] = {}

    def verdicts(self, caller: Mapping[str, Any]) -> list[bool]:
        shape, binds = self.rule.shape(caller), self.rule.binds(caller, REQUEST)
        if shape not in self.queries:
            self.queries[shape] = compile_query(self.rule.holds_for_values(caller))
        return [bool(asked(self.connection, self.queries[shape], binds | doc)) for doc in self.docs]


def asked(connection: apsw.Connection, query: Query, binds: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The rows of a query with these values."""
    statement = query.bind(binds)
    return list(connection.execute(statement.sql, statement.params))


def _audiences(audience: Audience) -> list[tuple[Elsewhere, str, Query | None]]:
    """(where, field of the caller, who) of every lookup."""
    found = []
    for item in audience.elsewhere:
        for column, name in item.by_auth.items():
            statement = item.audience(column)
            found.append((item, name, None if statement is None else compile_query(statement)))
    return found


def _named(
    connection: apsw.Connection,
    audience: Audience,
    queries: list[tuple[Elsewhere, str, Query | None]],
    doc: dict[str, Any],
    counts: Counter[str],
) -> dict[str, set[str]]:
    found = audience.occurring(doc)
    for item, name, query in queries:
        counts["everybody" if query is None else "asked"] += 1
        found[name].update((*WORDS, "x") if query is None else (row[0] for row in asked(connection, query, item.binds(doc))))
    return found


def change(
    connection: apsw.Connection, records: Records, rows: list[dict[str, Any]]
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Insert, update or delete a row; returns it before and after."""
    before = records.random.choice(rows) if rows and records.random.random() < 0.75 else None
    made = records.record(90, ROWS)
    after: dict[str, Any] | None = made
    if before is not None:
        connection.execute('DELETE FROM "rows" WHERE id = ?', [before["id"]])
        after = None if records.random.random() < 0.3 else {**before, "s": made["s"], "t": made["t"], "n": made["n"]}
    if after is not None:
        names = ", ".join(f'"{name}"' for name in ROWS.fields)
        values = [tables.stored(field, after[name]) for name, field in ROWS.fields.items()]
        connection.execute(f'INSERT INTO "rows" ({names}) VALUES ({", ".join("?" for _ in values)})', values)
    return before, after


def _concerns(item: Elsewhere, caller: Mapping[str, Any], images: tuple[Mapping[str, Any] | None, ...]) -> bool:
    """Whether a change of a row may concern a caller, as live queries decide it: by any one of the columns."""
    before, after = images
    if before is not None and after is not None and all(before[name] == after[name] for name in item.columns):
        return False
    if item.always(caller):
        return True
    column, name = random.choice(list(item.by_auth.items()))
    return any(image is not None and image[column] is not None and image[column] == caller.get(name) for image in images)


def main(count: int, seed: int) -> None:
    """Print the counts and the first broken promises of both runs."""
    for of in (of_records, of_collections):
        started = time.perf_counter()
        broken, counts = of(count, seed)
        print(of.__name__, dict(counts), f"{time.perf_counter() - started:.1f} s, {len(broken)} broken")
        shown: set[str] = set()
        for item in broken:
            if item.rule not in shown and len(shown) < 8:
                shown.add(item.rule)
                print("-", *item, sep="\n    ")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
