"""Constraints that a program can check on an answer, as in IFEval (Zhou et al. 2023, 2311.07911).

``kinds.KINDS`` is the table of all kinds of instruction, ``kinds.check`` the verdict of one, and
``scorers`` the strict and loose accuracies. French, Japanese and Spanish kinds are those of
M-IFEval (Dussolle et al. 2025, 2502.04688). Import from the modules.
"""
