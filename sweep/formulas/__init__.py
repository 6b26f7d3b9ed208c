"""The mathematics of networks, once: plain functions that every backend is given.

A formula is an ordinary Python function written with the names of `sweep.formulas.primitives`. As
it stands it runs on numpy arrays; `sweep.formulas.binding.bind` gives the same code other
primitives: torch's (`sweep.models.torch_primitives`), explicit SIMD under numba
(`sweep.kernels.vectors`) or one CUDA thread's scalars. A new activation or loss is one entry here.
"""
