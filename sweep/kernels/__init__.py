"""How kernels are compiled and what they compute with: numba, explicit SIMD, exp and tanh."""
