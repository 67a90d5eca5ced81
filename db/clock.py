"""The database's clock, as an SQL expression: seconds since 1970, with fractions.

Leases are compared with this clock only, so that a worker whose own clock is wrong does no harm.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class now(FunctionElement[float]):  # noqa: N801  (an SQL function)
    """The time at the moment the statement runs, not when its transaction began."""

    type = sa.Double()
    inherit_cache = True


@compiles(now, "postgresql")
def _postgresql(element: now, compiler: Any, **options: Any) -> str:
    return "extract(epoch FROM clock_timestamp())::double precision"


@compiles(now, "sqlite")
def _sqlite(element: now, compiler: Any, **options: Any) -> str:
    # unixepoch('subsec') needs SQLite 3.42; a Julian day in double precision is good to 40 µs.
    return "((julianday('now') - 2440587.5) * 86400.0)"
