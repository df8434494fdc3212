"""Point spread functions measured with a point source.

- `bracket`, `hdr`: exposures of one spot, merged with their variance
- `background`, `registration`, `source_size`: what is taken off, shifted and undone
- `spot`: one PSF; `stack`: depths and fields
- `session`, `export`: from a capture session, to files
"""
