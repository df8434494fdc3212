"""What the normal suite does not import here: it needs the real libcamera."""

collect_ignore = ["capture.py", "surface.py"]
