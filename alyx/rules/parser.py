"""The one parser of CEL: rules of schema.yaml and the clients' `where` alike, with other limits.

Recursive descent with operator precedence after the grammar of the CEL language definition. Bounded in length, nodes and depth
before anything recurses far, because a `where` comes from strangers.
"""

from __future__ import annotations

from typing import NamedTuple

from alyx.base.json import INT_MAX, INT_MIN
from alyx.rules import syntax
from alyx.rules.lexer import KEYWORDS, RESERVED, Token, tokens
from alyx.rules.syntax import Call, CelSyntaxError, ListLiteral, Literal, Macro, MapLiteral, Message, Name, Node, Select, UInt
from alyx.rules.values import UINT_MAX


class Limits(NamedTuple):
    """length: bytes of UTF-8; nodes: of the tree; depth: of nesting."""

    length: int
    nodes: int
    depth: int


RULE = Limits(8192, 1000, 64)
WHERE = Limits(1024, 50, 24)

_LEVELS = {"||": 1, "&&": 2, "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "in": 3, "+": 4, "-": 4, "*": 5, "/": 5, "%": 5}
_MACROS = {"all": (2,), "exists": (2,), "exists_one": (2,), "existsOne": (2,), "filter": (2,), "map": (2, 3)}


def parse(text: str, limits: Limits = RULE) -> Node:
    """The tree of a text. Raises CelSyntaxError with the place."""
    try:
        length = len(text.encode())
    except UnicodeEncodeError as error:
        raise CelSyntaxError("not a Unicode character", error.start, text) from None
    if length > limits.length:
        raise CelSyntaxError(f"longer than {limits.length} bytes", 0, text)
    parser = _Parser(text, limits)
    node = parser.expression()
    parser.expect("end")
    return node


class _Parser:
    def __init__(self, text: str, limits: Limits) -> None:
        self.text = text
        self.limits = limits
        self.tokens = tokens(text)
        self.index = 0
        self.nodes = 0
        self.nesting = 0
        self.depths: dict[int, int] = {}

    @property
    def token(self) -> Token:
        return self.tokens[self.index]

    def fail(self, message: str, start: int, hint: str | None = None) -> CelSyntaxError:
        return CelSyntaxError(message, start, self.text, hint)

    def accept(self, text: str) -> Token | None:
        token = self.token
        if token.text == text and token.kind in ("sign", "name"):
            self.index += 1
            return token
        return None

    def expect(self, text: str) -> Token:
        token = self.token
        if (token.text == text and token.kind == "sign") or (text == "end" and token.kind == "end"):
            self.index += 1
            return token
        wanted = "the end" if text == "end" else f"`{text}`"
        found = f"`{token.text}`" if token.text else "the end"
        raise self.fail(f"expected {wanted}, found {found}", token.start)

    def made(self, node: Node, *children: Node) -> Node:
        """Count a node and its depth; every constructor goes through here."""
        self.nodes += 1
        if self.nodes > self.limits.nodes:
            raise self.fail(f"more than {self.limits.nodes} nodes", node.start)
        depth = 1 + max((self.depths[id(child)] for child in children), default=0)
        if depth > self.limits.depth:
            raise self.fail(f"nested deeper than {self.limits.depth} levels", node.start)
        self.depths[id(node)] = depth
        return node

    def expression(self) -> Node:
        self.nesting += 1
        if self.nesting > self.limits.depth:
            raise self.fail(f"nested deeper than {self.limits.depth} levels", self.token.start)
        node = self.binary(1)
        if self.accept("?"):
            yes = self.binary(1)
            self.expect(":")
            no = self.expression()
            node = self.made(Call(node.start, no.end, syntax.CONDITION, None, (node, yes, no)), node, yes, no)
        self.nesting -= 1
        return node

    def binary(self, level: int) -> Node:
        node = self.unary()
        while True:
            token = self.token
            found = _LEVELS.get(token.text, 0) if token.kind in ("sign", "name") else 0
            if found < level:
                return node
            self.index += 1
            right = self.binary(found + 1)
            if token.text in ("&&", "||"):
                node = self.chain(token.text, node, right)
            else:
                node = self.made(Call(node.start, right.end, syntax.BINARY[token.text], None, (node, right)), node, right)

    def chain(self, sign: str, left: Node, right: Node) -> Node:
        """`a && b` as one flat call; a bracketed left side is left alone only if it is another operator."""
        function = syntax.AND if sign == "&&" else syntax.OR
        args: tuple[Node, ...] = (left, right)
        if isinstance(left, Call) and left.function == function:
            args = (*left.args, right)
        return self.made(Call(left.start, right.end, function, None, args), *args)

    def unary(self) -> Node:
        signs: list[Token] = []
        while self.token.kind == "sign" and self.token.text in ("!", "-"):
            following = self.tokens[self.index + 1]
            if self.token.text == "-" and following.kind in ("int", "float"):
                break
            if signs and self.token.text != signs[0].text:
                raise self.fail("`!` and `-` do not mix", self.token.start, "use brackets")
            signs.append(self.token)
            self.index += 1
        node = self.member()
        for sign in reversed(signs):
            function = syntax.NOT if sign.text == "!" else syntax.NEGATE
            node = self.made(Call(sign.start, node.end, function, None, (node,)), node)
        return node

    def member(self) -> Node:
        node = self.primary()
        while True:
            if self.accept("."):
                node = self.selected(node)
            elif self.accept("["):
                index = self.expression()
                end = self.expect("]").end
                node = self.made(Call(node.start, end, syntax.INDEX, None, (node, index)), node, index)
            elif self.token.text == "{" and self.token.kind == "sign" and (name := _dotted(node)):
                node = self.message(node, name)
            else:
                return node

    def selected(self, operand: Node) -> Node:
        token = self.token
        if token.kind not in ("name", "quoted") or token.text in KEYWORDS:
            raise self.fail("expected a name after `.`", token.start)
        self.index += 1
        name = token.text.strip("`")
        if token.kind == "name" and self.accept("("):
            args, end = self.arguments(")")
            return self.called(operand, name, args, operand.start, end)
        return self.made(Select(operand.start, token.end, operand, name), operand)

    def called(self, target: Node | None, name: str, args: tuple[Node, ...], start: int, end: int) -> Node:
        if target is None and name == "has":
            if len(args) != 1 or not isinstance(args[0], Select):
                raise self.fail("has() takes one field, as in has(doc.meta.key)", start)
            picked = args[0]
            return self.made(Select(start, end, picked.operand, picked.field, test=True), picked.operand)
        if target is not None and len(args) in _MACROS.get(name, ()):
            variable, *rest = args
            if isinstance(variable, Name):
                predicate, transform = (rest[0], None) if name != "map" else (rest[0] if len(rest) == 2 else None, rest[-1])
                kind = "exists_one" if name == "existsOne" else name
                return self.made(Macro(start, end, kind, target, variable.name, predicate, transform), target, *rest)
            raise self.fail(f"the first argument of {name}() is a plain name", variable.start)
        children = args if target is None else (target, *args)
        return self.made(Call(start, end, name, target, args), *children)

    def primary(self) -> Node:
        token = self.token
        self.index += 1
        if token.kind in ("int", "float") or (token.text == "-" and token.kind == "sign"):
            return self.number(token)
        if token.kind in ("string", "bytes"):
            return self.made(Literal(token.start, token.end, token.value, token.text))
        if token.kind == "name":
            return self.named(token)
        if token.text == "(" and token.kind == "sign":
            node = self.expression()
            self.expect(")")
            return node
        if token.text == "[" and token.kind == "sign":
            items, end = self.arguments("]")
            return self.made(ListLiteral(token.start, end, items), *items)
        if token.text == "{" and token.kind == "sign":
            entries, end = self.entries()
            return self.made(MapLiteral(token.start, end, entries), *(node for entry in entries for node in entry))
        found = f"`{token.text}`" if token.text else "the end"
        raise self.fail(f"expected a value, found {found}", token.start)

    def named(self, token: Token) -> Node:
        constants = {"true": True, "false": False, "null": None}
        if token.text in constants:
            return self.made(Literal(token.start, token.end, constants[token.text], token.text))
        if token.text in RESERVED or token.text in KEYWORDS:
            raise self.fail(f"`{token.text}` is a reserved word", token.start)
        if self.accept("("):
            args, end = self.arguments(")")
            return self.called(None, token.text, args, token.start, end)
        return self.made(Name(token.start, token.end, token.text))

    def number(self, token: Token) -> Node:
        start, negative = token.start, token.text == "-"
        if negative:
            token = self.token
            self.index += 1
        value = token.value
        assert isinstance(value, int | float)
        if isinstance(value, UInt):
            if negative or value > UINT_MAX:
                raise self.fail("an unsigned integer is beyond 64 bit", start)
        else:
            value = -value if negative else value
            if isinstance(value, int) and not INT_MIN <= value <= INT_MAX:
                raise self.fail("an integer is beyond 64 bit", start)
        return self.made(Literal(start, token.end, value, ("-" if negative else "") + token.text))

    def arguments(self, closing: str) -> tuple[tuple[Node, ...], int]:
        found: list[Node] = []
        while not (token := self.accept(closing)):
            if found:
                self.expect(",")
                if closing == "]" and (token := self.accept(closing)):
                    break
            found.append(self.expression())
        return tuple(found), token.end

    def entries(self) -> tuple[tuple[tuple[Node, Node], ...], int]:
        found: list[tuple[Node, Node]] = []
        while not (token := self.accept("}")):
            if found:
                self.expect(",")
                if token := self.accept("}"):
                    break
            key = self.expression()
            self.expect(":")
            found.append((key, self.expression()))
        return tuple(found), token.end

    def message(self, node: Node, name: str) -> Node:
        self.expect("{")
        _, end = self.entries()
        return self.made(Message(node.start, end, name))


def _dotted(node: Node) -> str | None:
    if isinstance(node, Name):
        return node.name
    if isinstance(node, Select) and not node.test and (left := _dotted(node.operand)):
        return f"{left}.{node.field}"
    return None
