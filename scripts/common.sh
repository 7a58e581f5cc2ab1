# Set-up steps that quickstart.sh and test.sh share; sourced, never run.
#
# Everything lands in the checkout (.venv, build, runs) except system packages, and each step is
# skipped where its result is there already.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PYTHON=$ROOT/.venv/bin/python
BUILD=$ROOT/build/cmake
cd "$ROOT"
# Spinning OpenMP threads slow a training step tenfold where something else uses the cores.
export OMP_WAIT_POLICY=passive
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf '== %s\n' "$*"; }

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# is_installed PACKAGE: by what it provides, since compilers and Python also come by other ways.
is_installed() {
  case $1 in
    cmake | ccache | g++) command -v "$1" > /dev/null ;;
    ninja-build) command -v ninja > /dev/null ;;
    python3-venv) python3 -c 'import ensurepip, venv' 2> /dev/null ;;
    python3-dev)
      [ -e "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]
      ;;
    dataset-fashion-mnist) [ -e /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz ] ;;
    *) dpkg-query -W -f '${Status}' "$1" 2> /dev/null | grep -q '^install ok installed' ;;
  esac
}

# install_system PACKAGE...: with apt-get, only what is missing.
install_system() {
  local missing=() package root=()
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  command -v apt-get > /dev/null || die "apt-get is not there; install by hand: ${missing[*]}"
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo > /dev/null || die "neither root nor sudo; install by hand: ${missing[*]}"
    root=(sudo)
  fi
  say "installing system packages: ${missing[*]}"
  "${root[@]}" apt-get update -q
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${missing[@]}"
}

# install_python [--no-deps] REQUIREMENT...: into .venv, only what is missing.
install_python() {
  local options=() missing=()
  if [ "$1" = --no-deps ]; then
    options=(--no-deps)
    shift
  fi
  mapfile -t missing < <("$PYTHON" - "$@" << 'PYTHON'
import importlib.metadata, sys
from pip._vendor.packaging.requirements import Requirement
for text in sys.argv[1:]:
    requirement = Requirement(text)
    try:
        found = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        found = None
    if found is None or not requirement.specifier.contains(found, prereleases=True):
        print(text)
PYTHON
  )
  [ ${#missing[@]} -eq 0 ] && return
  say "installing Python packages: ${missing[*]}"
  "$PYTHON" -m pip install -q "${options[@]}" "${missing[@]}"
}

# What building the package takes.
set_up() {
  install_system cmake g++ ninja-build ccache python3-venv python3-dev nlohmann-json3-dev \
    libyaml-cpp-dev libcli11-dev zlib1g-dev dataset-fashion-mnist "$@"
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
    || die "Python 3.11 or newer is needed, found $(python3 --version)"
  if [ ! -x "$PYTHON" ]; then
    say "creating .venv"
    python3 -m venv .venv
  fi
  # torch is pinned: the library is built for exactly one release.
  install_python torch==2.13.0 numpy 'setuptools>=77' wheel
}

# Builds the wheel and installs it into .venv, unless no source is newer than the last time.
install_package() {
  local stamp=$BUILD/installed
  if [ -e "$stamp" ] && "$PYTHON" -m pip show -q qat_ext 2> /dev/null \
    && [ -z "$(find CMakeLists.txt setup.py pyproject.toml cmake csrc python README.md \
      -newer "$stamp" -type f -not -name '*.pyc' -print -quit)" ]; then
    return
  fi
  say "building and installing qat_ext"
  "$PYTHON" -m pip install -v --no-build-isolation --no-deps --force-reinstall .
  touch "$stamp"
}
