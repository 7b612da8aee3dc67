"""Durations as counts on a logarithmic scale, from which centiles of many days follow.

Place n of the scale has durations from 10 ms times 2^(n/4) to below the next place, so a centile is
right within 10 percent. Counts of several days are added; the durations themselves need not be kept.
"""

import math
from collections.abc import Mapping

STEPS_PER_OCTAVE = 4
LEAST_SECONDS = 0.01
# 10 ms times 2^(104/4) is a week.
LAST_PLACE = 104


def centile(counts: Mapping[int, int], share: float) -> float:
    """Return the seconds that `share` of the durations do not exceed; NaN without any."""
    total = sum(counts.values())
    wanted = share * total
    reached = 0
    for place in sorted(counts):
        reached += counts[place]
        if total and reached >= wanted:
            return float(LEAST_SECONDS * 2 ** ((place + 0.5) / STEPS_PER_OCTAVE))
    return math.nan
