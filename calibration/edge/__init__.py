"""Slanted edges (ISO 12233 e-SFR): from linear raw planes to MTF with intervals.

- `region`, `line`, `spread`: where the edge is, how it runs, the edge-spread function
- `response`: the spatial frequency response
"""
