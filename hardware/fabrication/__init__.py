"""From a height map to the files a foundry takes, checked and read back. No torch.

design.py        the mask to be made
levels.py        its heights on the levels that etches make
target.py        what every file format has in common: written, read again, compared
sidecar.py       the sheet that goes with the files

rules.py         limits of a process; findings.py, regions.py, relief.py: what breaks them

gds.py oasis.py  masks for lithography; etch_masks.py: what both have in common
layout.py        polygons on a grid; rectangles.py: cells as few rectangles
gds_records.py   the GDSII stream; layout_reader.py: back to cells
marks.py dies.py crosses, verniers, labels, witnesses; dicing street and copies
outline.py       DXF outline

greyscale.py     grey image for laser writers; columns.py, raster.py: curves and pictures
mesh.py          STL and 3MF; solid.py: the closed surface
zemax.py         Zemax grid and Zernike sag; codev.py: CODE V; lens_text.py: what both share
sag.py           table of heights
slm.py           phase image for a modulator
mirror.py        Zernike amplitudes and actuator commands; influence.py: what actuators do
resampling.py    larger cells; zernike_fit.py: modes of a surface

measured.py      surfaces as they were measured; zygo.py: their files
"""
