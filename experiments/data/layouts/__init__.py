"""How data sets are laid out on disk: one reader for each, each in a file of its own.

A reader takes the root folder (or archive) and lists what is in it; nothing is decoded.
"""
