"""Statistics of counts and scores."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata


def wilson(right: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    if total == 0:
        return 0.0, 1.0
    share = right / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, middle - half), min(1.0, middle + half)


def auroc(wrong: Sequence[float], right: Sequence[float]) -> float:
    """The chance that a wrong one scores higher than a right one (Mann and Whitney 1947); ties count half."""
    ranks = rankdata(np.concatenate([wrong, right]))
    n, m = len(wrong), len(right)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))
