"""Benchmarks as they lie on disk, one module each."""
