"""The code for GPUs: kernels, the loops that launch them, and counter-based dropout masks.

On a GPU, at these sizes, launching an operation takes longer (about 20 µs on the host) than its
arithmetic. So one step of a cell is one matrix product and one kernel, forward and backward, and
dropout, loss, clipping and update use few launches. Each file corresponds to the file of the same
name in the parent package, which explains the mathematics; the results are equal up to rounding.
`nn`, `functional` and `optim` choose between the two with `kernels.takes`.
"""
