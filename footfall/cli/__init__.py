"""The commands; the only place that prints.

Exit status: 0 done, 1 it did not work, 2 the command line or the settings can not be run.
"""
