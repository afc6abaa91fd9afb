#!/bin/bash
# sbatch examples/cluster/slurm.sh [OPTIONS of train_ptb.py]
#
# Submit it again to go on after the time limit, five minutes before which the state is saved.
#SBATCH --ntasks=8 --cpus-per-task=4 --time=10:00:00 --signal=TERM@300
set -eu
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK

resume=()
if [ -e model.latest.safetensors ]; then resume=(--resume model.latest.safetensors); fi
srun python -m mpi4py examples/train_ptb.py --ranks "$SLURM_NTASKS" --batch-size 160 \
    --save-every 10m "${resume[@]}" "$@"
