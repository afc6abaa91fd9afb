"""All that only a GPU needs: kernels, the loops that call them, masks drawn from a counter.

On a GPU, at these sizes, launching takes the time, not arithmetic: some 20 µs of the host for each
operation. So here a step of a cell is one matrix product and one kernel, forward and backward, and
dropout, the loss, clipping and the update are as few launches as they can be. Each file mirrors
the one of the same name outside, where the mathematics is explained, and gives the same numbers to
rounding. `nn`, `functional` and `optim` choose between the two, by `kernels.takes`.
"""
