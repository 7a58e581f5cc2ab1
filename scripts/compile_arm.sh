#!/usr/bin/env bash
# Cross-compiles libqat_runtime and its C++ tests for 64-bit ARM (g++-aarch64-linux-gnu), and runs
# the tests under qemu-aarch64 where it is installed: with every instruction set, and with a
# processor for each choice of the kernels. The time that anything takes there says nothing.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${1:-build/arm}
mkdir -p "$build"
export OMP_WAIT_POLICY=passive

# Output appears only when a step fails.
quietly() { "$@" > "$build/$1.log" 2>&1 || { cat "$build/$1.log"; exit 1; }; }
configure() {
  local launcher=()
  if command -v ccache > /dev/null; then launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
  cmake -S csrc/runtime/standalone -B "$build" -GNinja --toolchain "$PWD/cmake/aarch64.cmake" \
    -DQAT_TESTS=ON "${launcher[@]}"
}
compile() { cmake --build "$build"; }
# emulate PROCESSOR PROGRAM ARGUMENT...
emulate() { qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu "$1" "${@:2}"; }
test_everything() {
  local program
  for program in "$build"/tests/*_test; do
    emulate max "$program" --gtest_brief=1 || return
  done
}
# runs PROCESSOR INSTRUCTION_SETS: the kernels' tests, on a processor that must have these.
runs() {
  local report=$build/$1.json
  emulate "$1" "$build/tests/runtime_test" --gtest_brief=1 --gtest_output=json:"$report" \
    --gtest_filter='Kernels.*:FastExecutor.PathsThatRan' || return
  grep -F "\"instruction_sets\": \"$2 portable \"" "$report"
}

quietly configure
quietly compile
if ! command -v qemu-aarch64 > /dev/null; then
  printf 'ARM: compiled, not run: no qemu-aarch64\n'
  exit
fi
quietly test_everything
quietly runs cortex-a53 "neon"
quietly runs neoverse-n1 "neon_dotprod neon"
quietly runs max "neon_i8mm neon_dotprod neon"
passed=$(awk '/PASSED/ { n += $4 } END { print n }' "$build/test_everything.log")
printf 'ARM: %d tests passed, emulated, with neon, neon_dotprod and neon_i8mm\n' "$passed"
