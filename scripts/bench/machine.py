"""What every benchmark says about where it ran."""

import platform

import torch


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
