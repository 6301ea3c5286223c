#!/usr/bin/env bash
# Every training of the study, the most important first. A run that was stopped goes on, a finished one is left alone.
#
#     bash docs/study/run.sh            at the paper's settings, on a GPU
#     bash docs/study/run.sh --narrow   dim 64 and 100 epochs, on two CPU cores: some fifteen minutes for each HTNet
#
# ECHO=echo before it prints the commands instead.
set -euo pipefail
cd "$(dirname "$0")/../.."

launch=(python main_HTNet.py)
size="" same_size=516 options=()
if [ "${1:-}" = --narrow ]; then
    launch=(torchrun --nproc-per-node 2 -- main_HTNet.py)
    size=-dim64 same_size=129 options=(--dim 64 --epochs 100 --precision bf16 --threads 1)
fi
htnet() {
    ${ECHO:-} "${launch[@]}" --train True --keep none --run "HTNet$size$1" "${options[@]}" "${@:2}"
}
ststnet() {
    ${ECHO:-} python main_HTNet.py --train True --keep none --run "STSTNet$1" --model STSTNet "${@:2}"
}

# The databases once more, with the released code's area centres in place of dlib's.
released=results/datasets-released
if [ -z "${ECHO:-}" ]; then
    if [ ! -e datasets/combined_3_class2_for_optical_flow.csv ]; then
        echo "docs/study/run.sh: datasets/ holds no composite: put the databases there first (README, Data)." >&2
        exit 2
    fi
    mkdir -p "$released"
    ln -sfn "$PWD"/datasets/* "$released"/
    rm -f "$released"/facial_areas.csv
    cp datasets/released_area_centres.csv "$released"/facial_areas.csv
fi

for seed in 1 2 3; do
    htnet "-seed$seed" --seed "$seed"
done
for seed in 1 2 3; do
    htnet "-released-seed$seed" --seed "$seed" --datasets "$released"
done
for seed in 1 2 3; do
    ststnet "-seed$seed" --seed "$seed"
done
htnet -order012-seed1 --class_order 0,1,2
htnet -shuffle-seed1 --shuffle True
ststnet -order210-seed1 --class_order 2,1,0
for seed in 1 2 3; do
    htnet "-two-seed$seed" --seed "$seed" --num_hierarchies 2 --block_repeats 2,10
done
htnet "-two-dim$same_size-seed1" --num_hierarchies 2 --block_repeats 2,10 --dim "$same_size"
htnet -control-seed1 --shuffle_labels True
ststnet -control-seed1 --shuffle_labels True
htnet -normalized-seed1 --normalize True
ststnet -normalized-seed1 --normalize True
if [ -z "$size" ]; then
    for dim in 56 112 196 392 512; do
        for seed in 1 2 3; do
            htnet "-dim$dim-seed$seed" --seed "$seed" --dim "$dim"
        done
    done
else
    htnet -float32-seed1 --precision float32
fi
