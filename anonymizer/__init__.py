"""Faces: where they are, who they show, and what protects them. Nothing of lenses.

- `alignment`: landmark geometry, similarity fits, aligned crops
- `detection`: faces on sharp photographs; `teachers`, `faceapi`, `onnx_teacher`: their 68 points
- `heatmaps`, `regressors`: points on privacy images
- `recognition`: recognisers of identity and the protocol that measures them
- `stargan`: the anonymizer, a measurement and a style become a face
- `protection`: photographs already taken; `vault`: their originals, sealed; `keystream`: secrets
- `metrics`: what an anonymizer keeps and what it hides; `perceptual`: how different pictures look
- `checkpoints`, `module_files`: weight files; `colour`: sRGB
"""
