#!/bin/sh
# Several processes on one machine without a GPU, one thread each (`accelerate launch --cpu` starts only one):
#   PROCESSES=2 sh recipes/cpus.sh run storeroom --out runs/together
OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" exec torchrun --nproc_per_node "${PROCESSES:-2}" -m tinythinker "$@"
