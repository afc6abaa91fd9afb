#!/bin/bash
# qsub examples/cluster/pbs.sh
#
# Submit it again to go on after the time limit; --save-every limits what is lost then.
#PBS -l select=8:ncpus=4:mpiprocs=1 -l walltime=10:00:00
set -eu
cd "$PBS_O_WORKDIR"
ranks=$(wc -l < "$PBS_NODEFILE")
export OMP_NUM_THREADS=4

resume=()
if [ -e model.latest.safetensors ]; then resume=(--resume model.latest.safetensors); fi
mpiexec -n "$ranks" python -m mpi4py examples/train_ptb.py --ranks "$ranks" --batch-size 160 \
    --save-every 10m "${resume[@]}" "$@"
