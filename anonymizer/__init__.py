"""Faces: where they are, who they show, and what protects them. Nothing of lenses.

- `alignment`: landmark geometry, similarity fits, aligned crops
- `detection`, `teachers`: faces and 68 points on sharp photographs
- `heatmaps`, `regressors`: points on privacy images
- `recognition`: recognisers of identity and the protocol that measures them
- `checkpoints`: weight files, `colour`: sRGB
"""
