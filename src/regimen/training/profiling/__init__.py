"""Where the time and the memory of a training go, measured on its own steps.

attribution   seconds by part, from what torch's profiler saw
memory        bytes by component, and the resident peak beside them
rates         the speed of the matrix products alone, at the same shapes
steps         the blocks of steps that are measured, with and without the profiler
results       what is found
profile       one run of the loop with all of that
"""
