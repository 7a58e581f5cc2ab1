#!/usr/bin/env bash
# Installs what is missing, builds everything and runs every check. Its last line is
# "<N> passed, <N> failed"; the exit status is not 0 if anything failed.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

passed=0
failed=0

finish() {
  local status=$?
  # A step outside of the counted ones broke.
  if [ "$status" -ne 0 ]; then failed=$((failed + 1)); fi
  printf '%d passed, %d failed\n' "$passed" "$failed"
  [ "$failed" -eq 0 ] || exit 1
}
trap finish EXIT

# check NAME COMMAND...: one check that passes or fails as a whole.
check() {
  local name=$1
  shift
  say "$name"
  if "$@"; then
    passed=$((passed + 1))
  else
    printf 'FAILED: %s\n' "$name"
    failed=$((failed + 1))
  fi
}

# count REPORT STATUS NAME: adds the numbers of a gtest or junit report. A run that failed without
# a failure in its report (a crash) counts as one.
count() {
  local numbers
  numbers=$("$PYTHON" scripts/count_tests.py "$1" "$2")
  passed=$((passed + ${numbers% *}))
  failed=$((failed + ${numbers#* }))
  if [ "${numbers#* }" -ne 0 ]; then printf 'FAILED: %s\n' "$3"; fi
}

run_cpp_tests() {
  local program name status
  for program in "$BUILD"/tests/*; do
    [ -f "$program" ] && [ -x "$program" ] || continue
    name=$(basename "$program")
    say "C++ $name"
    rm -f "$program.json"
    status=0
    "$program" --gtest_brief=1 --gtest_output=json:"$program.json" || status=$?
    count "$program.json" "$status" "$name"
  done
}

run_python_tests() {
  local report=$BUILD/pytest.xml status=0
  say "pytest"
  rm -f "$report"
  "$PYTHON" -m pytest -q --junitxml="$report" || status=$?
  count "$report" "$status" pytest
}

format_check() {
  find csrc tests examples \( -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' \) \
    -print0 | xargs -0 clang-format --dry-run --Werror
}

set_up libgtest-dev
install_python pytest pillow transformers safetensors ruff mypy
# Its compiled operators do not load beside a CPU torch; only its model definitions are used.
install_python --no-deps torchvision==0.28.0

mkdir -p "$BUILD"
say "building with tests"
cmake -S . -B "$BUILD" -GNinja -DPython_EXECUTABLE="$PYTHON" -DQAT_TESTS=ON > "$BUILD/configure.log" \
  || { cat "$BUILD/configure.log"; exit 1; }
cmake --build "$BUILD"
install_package

run_cpp_tests
run_python_tests
check ruff "$PYTHON" -m ruff check --quiet .
check mypy "$PYTHON" -m mypy
if command -v clang-format > /dev/null; then check clang-format format_check; fi
if command -v nvcc > /dev/null; then
  check "CUDA compile" env PYTHON="$PYTHON" scripts/compile_cuda.sh "$BUILD/cuda"
fi
if command -v aarch64-linux-gnu-g++ > /dev/null; then
  check "ARM compile" scripts/compile_arm.sh "$BUILD/arm"
else
  say "ARM compile: skipped, no aarch64-linux-gnu-g++"
fi
