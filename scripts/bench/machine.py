"""Where every benchmark runs: the machine it names, and the allocator."""

import os
import platform
import sys

import torch

ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 36)}

# Tensors of 64 KiB and more are mapped and returned to the system one by one: what is resident is
# what is alive. Otherwise freed holes between tensors count too, 20 to 150 MiB that differ from run
# to run.
MAPPED = {"MALLOC_MMAP_THRESHOLD_": "65536"}


def mapped_environment() -> dict[str, str]:
    """For a process whose resident memory is measured."""
    return {name: value for name, value in os.environ.items() if name not in ALLOCATOR} | MAPPED


def keep_memory() -> None:
    """Starts the script again with an allocator that keeps freed memory, unless it has it."""
    if any(os.environ.get(name) != value for name, value in ALLOCATOR.items()):
        # glibc reads them when a process starts. Without them large results come from the operating
        # system, and its page faults take longer than most operators.
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ALLOCATOR)


def machine() -> dict[str, str]:
    """Processor, instruction sets and the torch release."""
    name = platform.processor() or platform.machine()
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    return {
        "machine": name,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }
