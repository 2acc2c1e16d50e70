"""What schemathesis cannot read from the schema: which texts are names (`SCHEMATHESIS_HOOKS`)."""

from __future__ import annotations

import schemathesis
from hypothesis import strategies as st

from gateway.core.names import is_account

characters = st.characters(categories=("L", "M", "N", "P", "S")).filter(is_account)
schemathesis.openapi.format("name", st.text(characters, min_size=1, max_size=100).filter(is_account))
