"""Adapters of other libraries, one file each; a file whose library is missing takes no part.

A module has a class `Peer`, a `Contestant`. It uses the library's public functions as its
documentation shows them, with the settings that make it right and fast. What was met on the way:
prysm 0.21 imports pkg_resources, so setuptools must be below 81; waveprop imports torchvision;
chromatix is an empty placeholder on the package index (its repository asks for Python 3.12), so
there is no adapter of it.
"""
