"""From captures and measured surfaces to knowledge about the camera that was really made.

- `noise`, `psf`, `edge`, `target`, `geometry`, `relief`: what is measured, one package each
- `twin`: the design's parameters as made, fitted through the simulator; `retrieval`: phase alone
- `compare`: design against measurement; `measured_camera`: the measurement in the design's place
- `bench`: a simulated table with hidden errors, to measure all of this on
"""
