"""`make bench-scale`: the control plane with many simulated nodes and volumes, without kernels."""
