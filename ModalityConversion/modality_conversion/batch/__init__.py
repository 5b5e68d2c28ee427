"""Many scans in one run: planned, converted by several processes, resumed after any end, told about on one page.

How a run survives being killed is in `store`; what it reads and writes is in docs/batch.md.
"""

from __future__ import annotations

from .plan import Case, Plan
from .run import Outcome, Settings, run_batch

__all__ = ["Case", "Outcome", "Plan", "Settings", "run_batch"]
