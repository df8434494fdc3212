"""Hydra configuration files, one per job, and the parser of physical quantities in them."""
