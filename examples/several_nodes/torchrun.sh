#!/usr/bin/env bash
# One run on several machines by hand: start this on each of them, the same but for NODE (0, 1, ...).
# All must see the same disk under OUT. The first machine's name is HEAD.
set -euo pipefail

: "${NODE:?which machine this is, from 0}"
: "${NODES:?how many machines}"
: "${HEAD:?host name of machine 0}"
: "${OUT:?directory of the run, on a disk that all see}"
: "${CORPUS:?text to train on}"
RECIPE="${RECIPE:-bert-small}"
GPUS="${GPUS:-1}"
export MALMOI_PATIENCE="${MALMOI_PATIENCE:-120}"

exec malmoi supervise --crashes 3 -- \
  torchrun --nnodes "$NODES" --node-rank "$NODE" --nproc-per-node "$GPUS" \
    --master-addr "$HEAD" --master-port "${PORT:-29500}" \
    --no-python malmoi pretrain "$RECIPE" --corpus "$CORPUS" --out "$OUT" "$@"
