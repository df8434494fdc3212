"""All contestants under the same attacks and measures of utility, cell by cell.

- `cells`: what a cell is, what its result depends on, where it is kept
- `bench`: people, judges, attacks and contestants of one process
- `crew`: processes that compute cells
- `table`: numbers of the cells as metrics, CSV and LaTeX
- `methods`: the job

A cell is one contestant at one distance under one attack or one measure of utility. Its result is
kept under the hash of all it depends on, so that a further contestant costs its own cells only.
"""
