"""The laboratory: cameras, stages, lights, and the files that a mask is made from.

Loads with numpy and pyserial alone; anything else is imported inside the module that uses it.
"""
