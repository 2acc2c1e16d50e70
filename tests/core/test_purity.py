"""The house rules of the pure part: it asks nothing of the machine, and goes through nothing in an order of chance."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.sources import ROOT, faulty, imports, sources, tree, within

PURE = (
    "array",
    "base64",
    "bisect",
    "codecs",
    "collections",
    "dataclasses",
    "datetime",
    "enum",
    "functools",
    "hashlib",
    "heapq",
    "hmac",
    "http.HTTPStatus",
    "ipaddress",
    "itertools",
    "json",
    "math",
    "operator",
    "re",
    "types",
    "typing",
    "unicodedata",
    "__future__",
)
"""What of the standard library the pure part may import: nothing that has a clock, a file, a socket, a task or luck."""
FORBIDDEN_CALLS = frozenset({"__import__", "eval", "exec", "hash", "input", "open", "print"})
"""Built-in functions that reach out of the process, or whose results differ from one process to the next."""
CLOCKS = frozenset({"now", "today", "utcnow"})
"""Methods of `datetime` and `date` that read the clock."""
MUTABLE_SETS = frozenset({"MutableSet", "Set", "set"})
IN_ORDER = frozenset({"dict.fromkeys", "enumerate", "iter", "list", "map", "next", "reversed", "tuple", "zip"})
"""Calls whose results have the order of what they are given."""

PURE_PART = sources("gateway/core", "gateway/licensing")


def impure_calls(of: ast.Module) -> Iterator[str]:
    """What a file calls that the pure part must not."""
    for node in ast.walk(of):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS:
                yield f"{node.lineno}: {node.func.id}()"
            elif isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS:
                yield f"{node.lineno}: .{node.func.attr}()"


def bound_to_sets(nodes: Iterable[ast.AST], known: frozenset[str] = frozenset()) -> frozenset[str]:
    """The names that are bound to a set by their form or their annotation."""
    found: set[str] = set()
    for node in nodes:
        match node:
            case ast.Assign() if is_set(node.value, known):
                found.update(map(_last_word, node.targets))
            case ast.AnnAssign(target=ast.expr() as target) | ast.arg(arg=target) if _annotates_set(node.annotation):
                found.add(target if isinstance(target, str) else _last_word(target))
    return frozenset(found)


def is_set(node: ast.expr, known: frozenset[str]) -> bool:
    """Whether an expression is a set by its form, or because it is a name that is `known` to be one."""
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call():
            return _last_word(node.func) in {"frozenset", "set"}
        case ast.BinOp(op=ast.BitAnd() | ast.BitOr() | ast.BitXor() | ast.Sub()):
            return is_set(node.left, known) or is_set(node.right, known)
    return _last_word(node) in known


def sets_gone_through(function: ast.AST, shared: frozenset[str] = frozenset()) -> Iterator[str]:
    """Where a function goes through a set, so that its order matters or may; `shared` names are sets everywhere."""
    known = shared | bound_to_sets(ast.walk(function), shared)
    for node in ast.walk(function):
        passed: list[ast.expr] = []
        match node:
            case ast.For() | ast.comprehension():
                passed = [node.iter]
            case ast.Starred():
                passed = [node.value]
            case ast.Call(func=ast.Attribute(attr="pop", value=value), args=[]):
                passed = [value]
            case ast.Call(func=ast.Attribute(attr="join")):
                passed = node.args
            case ast.Call() if ast.unparse(node.func) in IN_ORDER:
                passed = node.args
        yield from (f"{each.lineno}: {ast.unparse(each)}" for each in passed if is_set(each, known))


def _annotates_set(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Subscript) and _last_word(node.value) in {*MUTABLE_SETS, "frozenset"}


def _last_word(node: ast.expr) -> str:
    """`name` of `name`, `b` of `a.b`; empty for what has no name."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def functions(of: ast.Module) -> Iterator[ast.AST]:
    return (node for node in ast.walk(of) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def shared_sets(trees: Iterable[ast.Module]) -> frozenset[str]:
    """The constants of modules, and the attributes of objects, that are sets."""
    bodies = (node.body for each in trees for node in ast.walk(each) if isinstance(node, ast.Module | ast.ClassDef))
    return bound_to_sets(statement for body in bodies for statement in body)


def mutable_set_annotations(of: ast.Module) -> Iterator[str]:
    """The annotations of sets that can change: what is kept in one has no order to go through it by."""
    for node in ast.walk(of):
        given = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        for annotation in filter(None, given):
            for part in ast.walk(annotation):
                if isinstance(part, ast.Name) and part.id in MUTABLE_SETS:
                    yield f"{part.lineno}: {ast.unparse(annotation)}"


def test_the_pure_part_reads_no_clock_opens_nothing_and_draws_no_lots() -> None:
    def faults(path: Path) -> Iterator[str]:
        yield from (module for module in imports(path) if not within(module, (*PURE, "gateway")))
        yield from impure_calls(tree(path))

    assert faulty(PURE_PART, faults) == {}


def test_nothing_goes_through_a_set() -> None:
    """The order of a set differs from one process to the next, and the same commands must give the same state."""
    shared = shared_sets(map(tree, PURE_PART))

    def faults(path: Path) -> Iterator[str]:
        for function in functions(tree(path)):
            yield from sets_gone_through(function, shared)

    assert faulty(PURE_PART, faults) == {}


def test_what_is_counted_is_kept_in_no_set() -> None:
    counted = sources("gateway/core/admission", "gateway/core/counting")
    assert faulty(counted, lambda path: mutable_set_annotations(tree(path))) == {}


# -- the rules themselves ----------------------------------------------------------------------------------------------


def test_indirect_and_late_imports_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "sly.py"
    path.write_text("import os.path\ndef f():\n    from asyncio import sleep\n    return sleep\n")
    assert [within(module, PURE) for module in imports(path)] == [False, False]


@pytest.mark.parametrize(
    "text",
    [
        "for x in {1, 2}: pass",
        "for x in set(y): pass",
        "for x in frozenset(y) - other: pass",
        "z = [x for x in {*y}]",
        "kinds = frozenset(y)\nz = tuple(kinds)",
        "z = ', '.join(message.KINDS)",
        "def f(kinds: set[str]): return [*kinds]",
        "mine = KINDS | other\nfirst = next(iter(mine))",
        "left = set(y)\nleft.pop()",
        "z = dict.fromkeys(set(y))",
    ],
)
def test_going_through_a_set_is_seen(text: str) -> None:
    assert list(sets_gone_through(ast.parse(text), shared_sets([ast.parse("KINDS = frozenset({1})")]))) != []


@pytest.mark.parametrize(
    "text",
    [
        "z = x in KINDS",
        "for x in sorted(KINDS): pass",
        "z = len(set(y))",
        "known = set(y)\nz = [x for x in y if x not in known]",
        "for x in {1: 2}: pass",
    ],
)
def test_looking_something_up_in_a_set_is_not(text: str) -> None:
    assert list(sets_gone_through(ast.parse(text), shared_sets([ast.parse("KINDS = frozenset({1})")]))) == []


@pytest.mark.parametrize("text", ["open('x')", "datetime.now(UTC)", "hash(key)"])
def test_a_call_that_is_not_pure_is_seen(text: str) -> None:
    assert len(list(impure_calls(ast.parse(text)))) == 1


@pytest.mark.parametrize(
    "text", ["x: set[int] = y", "def f() -> dict[str, set[int]]: ...", "def f(x: MutableSet[int]): ..."]
)
def test_a_set_that_can_change_is_seen(text: str) -> None:
    assert len(list(mutable_set_annotations(ast.parse(text)))) == 1


def test_the_pure_part_is_there() -> None:
    assert ROOT / "gateway" / "core" / "counting" / "ledger.py" in PURE_PART
