"""A network that is quantised, and the images of its calibration."""

import pytest
import torch
from support import networks

SIZE = 16


@pytest.fixture(scope="module")
def network():
    """A network with a residual addition, in eval mode."""
    torch.manual_seed(0)
    return networks.Residual().eval()


@pytest.fixture(scope="module")
def calls():
    """The inputs of four calls."""
    source = torch.Generator().manual_seed(1)
    return [[torch.randn(1, 3, SIZE, SIZE, generator=source)] for _ in range(4)]
