#!/bin/bash
# sbatch examples/cluster/slurm_gpus.sh [OPTIONS of train_ptb.py]
#
# Every rank sees all GPUs of its node and takes its own, so that NCCL can connect them directly.
#SBATCH --nodes=2 --ntasks-per-node=4 --gpus-per-node=4 --time=10:00:00 --signal=TERM@300
set -eu
resume=()
if [ -e model.latest.safetensors ]; then resume=(--resume model.latest.safetensors); fi
srun python -m mpi4py examples/train_ptb.py --ranks "$SLURM_NTASKS" --backend cupy \
    --batch-size 160 --save-every 10m "${resume[@]}" "$@"
