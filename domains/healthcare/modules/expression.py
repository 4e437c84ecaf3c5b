"""Expressions of SetAttribute, VitalSign and Observation: a small grammar of its own, never evaluated as code.

sum      = product {("+" | "-") product}          compare = sum [("<" | "<=" | ">" | ">=" | "=" | "!=") sum]
product  = power {("*" | "/") power}              all     = inverse {"and" inverse}; any = all {"or" all}
power    = unary ["^" power]                      inverse = ["not"] compare
unary    = ["-"] atom                             atom    = number | #{attribute} | name "(" any {"," any} ")" | "(" any ")"
                                                          | "if" any "then" any "else" any
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LONGEST, DEEPEST = 2_000, 40
TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+)|#\{(?P<attribute>[^{}]+)\}|(?P<name>[A-Za-z]+)|(?P<sign><=|>=|!=|[-+*/^(),<>=]))"
)
WORDS = {"and", "or", "not", "if", "then", "else", "true", "false"}

FUNCTIONS: Mapping[str, tuple[int, Callable[..., NDArray]]] = {
    "abs": (1, np.abs),
    "ceiling": (1, np.ceil),
    "floor": (1, np.floor),
    "truncate": (1, np.trunc),
    "round": (1, lambda x: np.floor(x + 0.5)),
    "exp": (1, np.exp),
    "ln": (1, np.log),
    "log": (2, lambda x, base: np.log(x) / np.log(base)),
    "power": (2, np.power),
    "min": (2, np.minimum),
    "max": (2, np.maximum),
}
"""Functions by lower-cased name, with the number of arguments that they take."""

SIGNS: Mapping[str, Callable[[NDArray, NDArray], NDArray]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "^": np.power,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "=": np.equal,
    "!=": np.not_equal,
    "and": np.logical_and,
    "or": np.logical_or,
}


class Malformed(ValueError):
    """An expression that the grammar does not have: says where."""


@dataclass(frozen=True)
class Expression:
    """A tree: `head` is a number, an attribute's name (with `leaf`), a sign, a function's name, `not`, `-1` or `if`."""

    head: str | float
    parts: tuple[Expression, ...] = ()
    leaf: bool = False

    @property
    def attributes(self) -> frozenset[str]:
        own = frozenset((str(self.head),)) if self.leaf else frozenset[str]()
        return own.union(*(p.attributes for p in self.parts))


def parse(text: str) -> Expression:
    """Read an expression. Raises Malformed with the position of what it does not understand."""
    if len(text) > LONGEST:
        raise Malformed(f"longer than {LONGEST} characters")
    reader = _Reader(text)
    made = reader.any(0)
    if reader.kind:
        raise Malformed(f"unexpected '{reader.token}' at {reader.at}")
    return made


def evaluate(e: Expression, value: Callable[[str], NDArray]) -> NDArray[np.float64]:
    """The value for each row; `value` gives an attribute's numbers, NaN where it is unset. Truth is 1 or 0."""
    with np.errstate(all="ignore"):
        return np.asarray(_evaluate(e, value), np.float64)


def _evaluate(e: Expression, value: Callable[[str], NDArray]) -> NDArray:
    if e.leaf:
        return value(str(e.head))
    if not isinstance(e.head, str):
        return np.asarray(float(e.head))
    parts = [_evaluate(p, value) for p in e.parts]
    if e.head == "if":
        return np.where(parts[0], parts[1], parts[2])
    if e.head == "not":
        return np.logical_not(parts[0])
    if e.head in SIGNS:
        return np.negative(parts[0]) if len(parts) == 1 else SIGNS[e.head](*parts)
    return FUNCTIONS[e.head][1](*parts)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.end = text, 0
        self.next()

    def next(self) -> None:
        self.at = self.end
        match = TOKEN.match(self.text, self.end)
        if match is None:
            rest = self.text[self.end :].strip()
            if rest:
                raise Malformed(f"unexpected '{rest[0]}' at {self.end}")
            self.kind, self.token = "", ""
            return
        self.kind = match.lastgroup or ""
        self.token = match[self.kind]
        self.end = match.end()
        if self.kind == "name" and self.token.lower() in WORDS:
            self.kind, self.token = "word", self.token.lower()

    def take(self, *tokens: str) -> str:
        if self.kind in ("sign", "word") and self.token in tokens:
            token = self.token
            self.next()
            return token
        return ""

    def need(self, token: str) -> None:
        if not self.take(token):
            raise Malformed(f"expected '{token}' at {self.at}")

    def any(self, depth: int) -> Expression:
        if depth > DEEPEST:
            raise Malformed(f"nested deeper than {DEEPEST}")
        return self.left(depth, ("or",), lambda d: self.left(d, ("and",), self.inverse))

    def left(self, depth: int, signs: tuple[str, ...], inner: Callable[[int], Expression]) -> Expression:
        made = inner(depth)
        while sign := self.take(*signs):
            made = Expression(sign, (made, inner(depth)))
        return made

    def inverse(self, depth: int) -> Expression:
        if self.take("not"):
            return Expression("not", (self.compare(depth),))
        return self.compare(depth)

    def compare(self, depth: int) -> Expression:
        made = self.sum(depth)
        sign = self.take("<", "<=", ">", ">=", "=", "!=")
        return Expression(sign, (made, self.sum(depth))) if sign else made

    def sum(self, depth: int) -> Expression:
        return self.left(depth, ("+", "-"), lambda d: self.left(d, ("*", "/"), self.power))

    def power(self, depth: int) -> Expression:
        if depth > DEEPEST:
            raise Malformed(f"nested deeper than {DEEPEST}")
        if self.take("-"):
            return Expression("-", (self.power(depth + 1),))
        made = self.atom(depth)
        return Expression("^", (made, self.power(depth + 1))) if self.take("^") else made

    def atom(self, depth: int) -> Expression:
        kind, token, at = self.kind, self.token, self.at
        if not kind:
            raise Malformed("ends too early")
        self.next()
        if kind == "number":
            return Expression(float(token))
        if kind == "attribute":
            return Expression(token.strip(), leaf=True)
        if kind == "word" and token in ("true", "false"):
            return Expression(float(token == "true"))
        if kind == "word" and token == "if":
            when = self.any(depth + 1)
            self.need("then")
            then = self.any(depth + 1)
            self.need("else")
            return Expression("if", (when, then, self.any(depth + 1)))
        if kind == "sign" and token == "(":
            made = self.any(depth + 1)
            self.need(")")
            return made
        if kind == "name":
            return self.call(token, at, depth)
        raise Malformed(f"unexpected '{token}' at {at}")

    def call(self, name: str, at: int, depth: int) -> Expression:
        if name.lower() not in FUNCTIONS:
            raise Malformed(f"unknown function '{name}' at {at}; known: {', '.join(sorted(FUNCTIONS))}")
        self.need("(")
        parts = [self.any(depth + 1)]
        while self.take(","):
            parts.append(self.any(depth + 1))
        self.need(")")
        wanted = FUNCTIONS[name.lower()][0]
        if len(parts) != wanted:
            raise Malformed(f"{name} takes {wanted} argument{'s' * (wanted > 1)}, not {len(parts)}")
        return Expression(name.lower(), tuple(parts))
