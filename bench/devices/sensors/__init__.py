"""Sensors of a GPU: utilisation, clocks, temperature, power, throttles, energy.

`sensor` defines the protocol. `nvml` reads an NVIDIA GPU through NVML; `tegra` reads a Jetson board
through sysfs, and `jtop` through jetson-stats. Nothing here imports torch or starts CUDA.
"""
