"""Noise and radiometry of a sensor: from stacks of darks and flats to a model with uncertainties.

- `stacks`, `levels`, `dark`, `flat`: what is read off a stack of frames
- `photon_transfer`, `saturation`: gain, read noise, linearity, full well; `transfer_notes`: what
  makes them doubtful
- `model`: what all of it says of one mode of a camera
- `session`: from a capture session
"""
