"""Running a training job: what stands around `lm.steps`. Each file uses only those before it.

position     how far the run has got
losses       the losses since the last report
divergence   the watch for values that are not finite
state        everything that a checkpoint keeps of a run
stopping     Ctrl-C and SIGTERM as a request to stop
saving       the best model and the latest state, in two files
observer     what a run reports, and to whom
progress     reports as lines and a bar
metrics      reports as a JSON file
trainer      the loop over epochs
"""
