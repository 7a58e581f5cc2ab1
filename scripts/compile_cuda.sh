#!/usr/bin/env bash
# Compiles the CUDA kernels and operators without linking or running them: no GPU and no CUDA torch
# are needed, only nvcc. PYTHON names the interpreter that has torch.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${1:-build/cuda}
python=${PYTHON:-.venv/bin/python}
mkdir -p "$build"

# Output appears only when a step fails.
quietly() { "$@" > "$build/$1.log" 2>&1 || { cat "$build/$1.log"; exit 1; }; }
configure() {
  cmake -S . -B "$build" -GNinja -DPython_EXECUTABLE="$(realpath -s "$python")" \
    -DQAT_CUDA=COMPILE_ONLY -DQAT_DRIVER=OFF -DQAT_PYTHON=OFF -DQAT_TESTS=OFF
}
compile() { cmake --build "$build" --target qat_cuda_objects; }

quietly configure
quietly compile
units=$(find "$build/csrc/CMakeFiles" -path '*/qat_cuda_*' -name '*.o' | wc -l)
architectures=$(sed -n 's/.*CUDA: compiled only, for //p' "$build/configure.log" \
  | sed -E 's/([0-9]+)(-real|-virtual)?;?/sm_\1 /g')
printf 'CUDA: compiled %d units for %s, not run: no GPU\n' "$units" "${architectures% }"
