"""The grammar, its limits, and where an error is said to be."""

from __future__ import annotations

import pytest

from alyx.rules import parser, syntax
from alyx.rules.parser import WHERE, parse
from alyx.rules.syntax import Call, CelSyntaxError, Literal, Macro, Select


def shown(node: syntax.Node) -> str:
    """The tree as a text with every bracket."""
    match node:
        case Call():
            return f"{node.function}({', '.join(shown(item) for item in ((node.target,) if node.target else ()) + node.args)})"
        case Literal():
            return node.text
        case Select():
            return f"{shown(node.operand)}.{node.field}"
        case Macro():
            return f"{node.kind}({shown(node.target)}, {node.variable})"
    return getattr(node, "name", "[]")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a || b && c", "_||_(a, _&&_(b, c))"),
        ("a || b || c", "_||_(a, b, c)"),
        ("!a == b", "_==_(!_(a), b)"),
        ("a + b * c - d", "_-_(_+_(a, _*_(b, c)), d)"),
        ("a ? b : c ? d : e", "_?_:_(a, b, _?_:_(c, d, e))"),
        ("a < b == c", "_==_(_<_(a, b), c)"),
        ("-a.b", "-_(a.b)"),
        ("-1 - -1", "_-_(-1, -1)"),
        ("a in [b]", "_in_(a, [])"),
        ("a.b(c)[d]", "_[_](b(a.b, c), d)".replace("b(a.b, c)", "b(a, c)")),
        ("c.exists(x, x == 1)", "exists(c, x)"),
        ("a // comment\n + b", "_+_(a, b)"),
    ],
)
def test_operators_bind_as_the_language_definition_says(text: str, tree: str) -> None:
    assert shown(parse(text)) == tree


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("doc.a = 1", 1, 7, "unexpected character '='"),
        ("doc.a ==", 1, 9, "expected a value, found the end"),
        ("doc.a == 1 &&\n  (doc.b", 2, 9, "expected `)`, found the end"),
        ("'abc", 1, 1, "a string is not closed"),
        ("9223372036854775808", 1, 1, "an integer is beyond 64 bit"),
        ("doc.a == 'x\\q'", 1, 12, "unknown escape \\q"),
        ("doc.if == package", 1, 11, "`package` is a reserved word"),
        ("a.exists(b.c, true)", 1, 10, "the first argument of exists() is a plain name"),
        ("1e999", 1, 1, "a number is beyond the range of a double"),
        ("a b", 1, 3, "expected the end, found `b`"),
    ],
)
def test_a_syntax_error_names_its_line_and_column(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(CelSyntaxError) as caught:
        parse(text)
    assert (caught.value.line, caught.value.column, caught.value.message) == (line, column, message)


@pytest.mark.parametrize(
    ("text", "limits", "message"),
    [
        ("a || " * 300 + "a", WHERE, "longer than 1024 bytes"),
        ("a||" * 50 + "a", WHERE, "more than 50 nodes"),
        ("(" * 70 + "a" + ")" * 70, parser.RULE, "nested deeper than 64 levels"),
        ("!" * 70 + "a", parser.RULE, "nested deeper than 64 levels"),
        ("a" + ".b" * 70, parser.RULE, "nested deeper than 64 levels"),
        ("[" * 5000, parser.RULE, "nested deeper than 64 levels"),
        ("1+" * 70 + "1", parser.RULE, "nested deeper than 64 levels"),
    ],
)
def test_what_is_beyond_the_limits_is_refused_before_anything_recurses_far(
    text: str, limits: parser.Limits, message: str
) -> None:
    with pytest.raises(CelSyntaxError, match=message):
        parse(text, limits)


def test_a_chain_of_many_conditions_is_no_depth() -> None:
    assert isinstance(parse(" || ".join(f"a == {n}" for n in range(200))), Call)
