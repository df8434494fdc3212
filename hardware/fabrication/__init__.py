"""From a height map to the files a foundry takes, checked and read back. No torch.

design.py   the mask to be made
levels.py   its heights on the levels that etches make
target.py   what every file format has in common
"""
