"""Kernels in Triton, which comes with torch's CUDA builds."""
