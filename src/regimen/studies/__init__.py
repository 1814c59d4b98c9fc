"""Studies: a claim about data or method as a command that runs, repeats over seeds, and decides.

cells       one training with its evaluation: factors, seed, settings, what it needs, its result
runner      cells in processes of their own: cached, resumable, side by side, failures counted
scores      the scores of cells on the same items as arrays, and contrasts between them
fits        curves over levels: power law with offset against log-linear, the knee
claims      what was expected, what was measured, and the verdict in words
one_job     what studies of one job share: the generalist, the job's rows, who is asked what
tasks, formatting, specialise, adapters, rewrites, grid    the designs: which cells, which claims
"""
