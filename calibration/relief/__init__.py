"""Measured surfaces: a scan laid on its design, and what the next print should correct.

- `placement`: shift, turn and scale; `surface`: the fit and what is left of it
- `precompensation`: the next print
"""
