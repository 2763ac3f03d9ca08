"""The benchmarks: every figure of the contract, measured on real processes (`make bench`, docs/benchmarks.md)."""
