#!/usr/bin/env bash
# Installs what is missing, builds qat_ext into .venv and runs the job of the README: a small ResNet
# on Fashion-MNIST, float training to verified int8 file. The last line is the job's result.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

set_up
install_package
say "training into runs/quickstart"
rm -rf runs/quickstart
.venv/bin/qat train configs/fashion_mnist_resnet.yaml run=runs/quickstart
