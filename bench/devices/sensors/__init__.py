"""Sensors of a GPU: utilisation, clocks, temperature, power, throttles, energy.

`sensor` has the protocol. `nvml` is an NVIDIA GPU through NVML, `tegra` a Jetson board through its
sysfs files, `jtop` a Jetson board through jetson-stats. Nothing here imports torch or starts CUDA.
"""
