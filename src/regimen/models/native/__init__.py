"""Compiled loops for CPUs: ``build`` makes them once on a machine, ``ops`` calls them.

Everything here has a form in torch as well, which runs where there is no compiler.
"""
