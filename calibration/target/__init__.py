"""PSFs without a point source: from a known random target, or from clear and coded pairs.

- `random_target`, `markers`, `registration`, `scene`, `illumination`: the target and what is seen
- `kernel`, `stationary`, `scene_convolution`: the linear problem
- `estimate`, `pairs`: the two ways to a PSF
"""
