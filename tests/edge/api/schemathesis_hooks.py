"""What schemathesis cannot read from the schema (`SCHEMATHESIS_HOOKS`): which texts are names, and which parameters
exclude each other, for which a schema has no word. That these are refused is tested where each route is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import schemathesis
from hypothesis import strategies as st

from gateway.core.names import is_account

characters = st.characters(categories=("L", "M", "N", "P", "S")).filter(is_account)
schemathesis.openapi.format("name", st.text(characters, min_size=1, max_size=100).filter(is_account))


def agrees(path: str, query: Mapping[str, Any]) -> bool:
    """Whether no parameter excludes another one."""
    if path == "/api/connections":
        return "cursor" not in query or query.get("sort", "since") == "since"
    if path == "/api/usage":
        return "account" not in query or query.get("by", "account") == "account"
    return True


@schemathesis.hook
def filter_case(_: Any, case: Any) -> bool:
    """Leave out cases whose parameters exclude each other."""
    return agrees(case.operation.path, case.query or {})
