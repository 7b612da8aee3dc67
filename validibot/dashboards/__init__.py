"""Figures of runs by day, from which dashboards are drawn.

A scheduled pass counts the runs that ended on a day (UTC), and counts today's again each time. A day
that is over is counted for the last time an hour after its end: runs that are removed later stay in its
figures.
"""
