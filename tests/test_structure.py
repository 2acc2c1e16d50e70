"""The house rules of the source: imports go one way, files and classes stay small, a name means one thing."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.sources import ROOT, faulty, imports, name, sources, tree, within

LONGEST_FILE = 400
MOST_METHODS = 30

ALLOWED: dict[str, tuple[str, ...]] = {
    "gateway/core": (),
    "gateway/core/wire": ("gateway/core",),
    "gateway/core/counting": ("gateway/core",),
    "gateway/core/registration": ("gateway/core", "gateway/core/wire"),
    "gateway/core/reporting": ("gateway/core", "gateway/core/counting"),
    "gateway/core/web_tokens": ("gateway/core", "gateway/core/wire"),
    "gateway/core/admission": (
        "gateway/core",
        "gateway/core/wire",
        "gateway/core/counting",
        "gateway/core/registration",
        "gateway/core/reporting",
    ),
    "gateway/core/cluster": ("gateway/core/counting", "gateway/core/admission"),
    "gateway/licensing": ("gateway/core", "gateway/core/counting", "gateway/core/registration"),
    "config": (
        "gateway/core",
        "gateway/core/wire",
        "gateway/core/counting",
        "gateway/core/registration",
        "gateway/core/web_tokens",
        "gateway/licensing",
    ),
    "metrics": ("gateway/core", "gateway/core/wire", "gateway/core/counting", "gateway/core/admission"),
    "gateway/edge/files.py": (),
    "gateway/edge/garbage.py": (),
    "gateway/edge/machine.py": ("config", "gateway/core", "gateway/core/registration"),
    "gateway/edge/terms.py": (
        "gateway/core",
        "gateway/core/counting",
        "gateway/core/registration",
        "gateway/core/admission",
        "gateway/licensing",
        "config",
    ),
    "gateway/edge/storage": (
        "gateway/core",
        "gateway/core/counting",
        "gateway/core/registration",
        "gateway/core/reporting",
        "gateway/core/admission",
        "gateway/licensing",
        "config",
        "metrics",
        "gateway/edge/files.py",
        "gateway/edge/machine.py",
    ),
    "gateway/edge/cluster": (
        "gateway/core",
        "gateway/core/cluster",
        "gateway/core/admission",
        "gateway/core/counting",
        "gateway/edge/machine.py",
        "gateway/edge/storage",
    ),
    "gateway/edge/catching_up.py": (
        "gateway/core/admission",
        "gateway/core/cluster",
        "gateway/licensing",
        "config",
        "gateway/edge/machine.py",
        "gateway/edge/storage",
    ),
    "gateway/edge/joining.py": (
        "gateway/core/admission",
        "gateway/edge/catching_up.py",
        "gateway/edge/storage",
        "gateway/core/cluster",
        "gateway/licensing",
        "config",
        "gateway/edge/cluster",
        "gateway/edge/machine.py",
        "gateway/edge/terms.py",
    ),
    "gateway/edge/adopting.py": (
        "gateway/core/registration",
        "gateway/core/admission",
        "gateway/core/cluster",
        "gateway/core/counting",
        "gateway/licensing",
        "config",
        "gateway/edge/cluster",
        "gateway/edge/storage",
        "gateway/edge/terms.py",
        "gateway/edge/joining.py",
    ),
    "gateway/edge/server": (
        "gateway/core/cluster",
        "gateway/core/web_tokens",
        "gateway/edge/cluster",
        "gateway/core",
        "gateway/core/wire",
        "gateway/core/counting",
        "gateway/core/registration",
        "gateway/core/reporting",
        "gateway/core/admission",
        "gateway/licensing",
        "config",
        "metrics",
        "gateway/edge/machine.py",
        "gateway/edge/terms.py",
        "gateway/edge/storage",
    ),
    "gateway/edge/webhooks": (
        "gateway/core",
        "gateway/core/wire",
        "config",
        "gateway/edge/machine.py",
        "gateway/edge/storage",
        "gateway/edge/server",
    ),
    "gateway/edge/api": (
        "gateway/core",
        "gateway/core/wire",
        "gateway/core/counting",
        "gateway/core/registration",
        "gateway/core/reporting",
        "gateway/core/admission",
        "gateway/licensing",
        "config",
        "metrics",
        "gateway/edge/cluster",
        "gateway/edge/storage",
        "gateway/edge/server",
    ),
    "gateway/edge/restarting.py": (
        "gateway/core/admission",
        "gateway/licensing",
        "config",
        "gateway/edge/machine.py",
        "gateway/edge/terms.py",
        "gateway/edge/storage",
        "gateway/edge/server",
    ),
    "gateway/edge/ready_file.py": ("gateway/edge/files.py",),
    "gateway/edge/service_manager.py": (),
    "gateway/edge/gateway.py": (
        "config",
        "gateway/edge/files.py",
        "gateway/edge/garbage.py",
        "gateway/edge/machine.py",
        "gateway/edge/ready_file.py",
        "gateway/edge/cluster",
        "gateway/edge/joining.py",
        "gateway/edge/restarting.py",
        "gateway/edge/storage",
        "gateway/edge/server",
        "gateway/edge/webhooks",
        "gateway/edge/api",
    ),
    "gateway/client_connection.py": ("gateway/core/wire",),
    "gateway/client_pacing.py": ("gateway/core/wire",),
    "gateway/client_conversation.py": (
        "gateway/core/wire",
        "gateway/client_connection.py",
        "gateway/client_pacing.py",
    ),
    "gateway/client_reconnection.py": (
        "gateway/core/wire",
        "gateway/client_connection.py",
        "gateway/client_conversation.py",
    ),
    "gateway/client_trace.py": ("gateway/client_connection.py",),
    "gateway/client.py": (
        "gateway/core/wire",
        "gateway/client_connection.py",
        "gateway/client_conversation.py",
        "gateway/client_reconnection.py",
        "gateway/client_trace.py",
    ),
    "gateway/operator_client.py": (),
    "gateway/load": (
        "gateway/core",
        "gateway/core/wire",
        "gateway/core/counting",
        "config",
        "gateway/client_connection.py",
        "gateway/client_conversation.py",
        "gateway/operator_client.py",
    ),
    "gateway/demo": (
        "gateway/core/wire",
        "gateway/core/counting",
        "gateway/core/registration",
        "gateway/core/admission",
        "gateway/licensing",
        "config",
        "gateway/edge/terms.py",
        "gateway/edge/storage",
        "gateway/client_connection.py",
        "gateway/client.py",
    ),
    "gateway/cli": (
        "gateway/core",
        "gateway/core/wire",
        "gateway/core/counting",
        "gateway/core/registration",
        "gateway/core/reporting",
        "gateway/core/admission",
        "gateway/licensing",
        "config",
        "gateway/edge/files.py",
        "gateway/edge/machine.py",
        "gateway/edge/storage",
        "gateway/edge/server",
        "gateway/edge/api",
        "gateway/edge/gateway.py",
        "gateway/edge/adopting.py",
        "gateway/edge/joining.py",
        "gateway/edge/restarting.py",
        "gateway/edge/service_manager.py",
        "gateway/client_connection.py",
        "gateway/client.py",
        "gateway/operator_client.py",
        "gateway/load",
        "gateway/demo",
    ),
    "gateway/__main__.py": ("gateway/cli",),
}
"""From bottom to top: what each place may import besides itself. A place is a folder without its folders, or a file
that stands beside folders."""

SECRETS = frozenset({"mac", "password", "resume", "secret", "token"})
"""Names of what proves who somebody is."""
PUBLIC = frozenset({"created", "fingerprint", "scope"})
"""Names of what everybody may know of it."""
TWO_NOTATIONS = frozenset({"Count"})
"""Names of kinds that mean the same twice: once as a setting has them, once as a document of the API has them."""

SOURCES = sources("gateway", "metrics", "config")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in SOURCES}
PACKAGES = tuple(sorted({module.partition(".")[0] for module in MODULES}))


def imported(path: Path) -> list[Path]:
    """The files of ours that a file imports; of a name that is no module, the one that has it."""
    ours = [each for each in imports(path) if within(each, PACKAGES)]
    return [MODULES[each] if each in MODULES else MODULES[each.rpartition(".")[0]] for each in ours]


def place(path: Path) -> str:
    """The row of the table that a file belongs to."""
    own = name(path)
    return own if own in ALLOWED else name(path.parent)


def circles(graph: Mapping[str, list[str]]) -> list[list[str]]:
    """A way round for each circle that a walk over the graph comes upon."""
    found: list[list[str]] = []
    done: set[str] = set()

    def walk(node: str, way: list[str]) -> None:
        if node in way:
            found.append([*way[way.index(node) :], node])
        elif node not in done:
            for after in graph.get(node, []):
                walk(after, [*way, node])
            done.add(node)

    for node in graph:
        walk(node, [])
    return found


def classes(path: Path) -> Iterator[ast.ClassDef]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef))


def kinds(path: Path) -> Iterator[str]:
    """The classes of a file and the names it gives to types, which are written like classes."""
    yield from (node.name for node in classes(path))
    for node in tree(path).body:
        if isinstance(node, ast.Assign) and not _is_type_variable(node.value):
            yield from (
                target.id
                for target in node.targets
                if isinstance(target, ast.Name) and target.id[0].isupper() and not target.id.isupper()
            )


def _is_type_variable(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "TypeVar"


def plain_comparisons(of: ast.Module) -> Iterator[str]:
    """The comparisons of a secret with something else, other than by `compare_digest`."""
    for node in ast.walk(of):
        if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq | ast.In | ast.NotIn):
            continue
        if any(SECRETS.intersection(_words(each)) for each in (node.left, *node.comparators)):
            yield f"{node.lineno}: {ast.unparse(node)}"


def _words(node: ast.AST) -> Iterator[str]:
    """The names in an expression, without those of which only something public is taken."""
    if isinstance(node, ast.Attribute) and node.attr in PUBLIC:
        return
    if isinstance(node, ast.Name | ast.Attribute):
        yield (node.id if isinstance(node, ast.Name) else node.attr).strip("_")
    for inner in ast.iter_child_nodes(node):
        yield from _words(inner)


# -- imports -----------------------------------------------------------------------------------------------------------


def test_imports_go_one_way() -> None:
    def faults(path: Path) -> list[str]:
        own = place(path)
        return sorted({place(each) for each in imported(path)} - {own, *ALLOWED[own]})

    assert faulty(filter(imports, SOURCES), faults) == {}


def test_every_place_is_allowed_only_what_is_below_it() -> None:
    below: set[str] = set()
    for own, allowed in ALLOWED.items():
        assert (ROOT / own).exists(), own
        assert set(allowed) <= below, own
        below.add(own)


def test_no_module_imports_itself_by_a_detour() -> None:
    assert circles({name(path): [name(each) for each in imported(path)] for path in SOURCES}) == []


def test_nothing_is_imported_for_the_type_checker_alone() -> None:
    """Such an import hides a circle."""
    assert faulty(SOURCES, lambda path: [each for each in imports(path) if each.endswith(".TYPE_CHECKING")]) == {}


# -- sizes and names ---------------------------------------------------------------------------------------------------


def test_no_file_is_too_long() -> None:
    lengths = {name(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_no_class_has_too_many_methods() -> None:
    methods = {
        each.name: sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in each.body)
        for path in SOURCES
        for each in classes(path)
    }
    assert {each: number for each, number in methods.items() if number > MOST_METHODS} == {}


def test_a_name_of_a_class_means_one_thing() -> None:
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for path in SOURCES:
        for kind in kinds(path):
            homes[kind].append(name(path))
    assert {kind: at for kind, at in homes.items() if len(at) > 1 and kind not in TWO_NOTATIONS} == {}


# -- secrets -----------------------------------------------------------------------------------------------------------


def test_secrets_are_compared_in_constant_time() -> None:
    assert faulty(SOURCES, lambda path: plain_comparisons(tree(path))) == {}


# -- the rules themselves ----------------------------------------------------------------------------------------------


def test_a_circle_is_seen() -> None:
    assert circles({"a": ["b"], "b": ["c"], "c": ["a"]}) == [["a", "b", "c", "a"]]
    assert circles({"a": ["b", "c"], "b": ["c"], "c": []}) == []


@pytest.mark.parametrize(
    "text",
    [
        "self._token(session) != token",
        "[token for token in tokens if offered == token.digest]",
        "any(each.hex() == (token or '') for each in known)",
        "expected.encode() == mac.encode()",
        "token in known",
    ],
)
def test_a_plain_comparison_of_a_secret_is_seen(text: str) -> None:
    assert list(plain_comparisons(ast.parse(text))) != []


@pytest.mark.parametrize(
    "text", ["token is None", "hmac.compare_digest(a.digest, b)", "settings.accounts.mode == 'token'"]
)
def test_what_is_no_comparison_of_a_secret_is_let_be(text: str) -> None:
    assert list(plain_comparisons(ast.parse(text))) == []
