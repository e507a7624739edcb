"""Random weights and statistics for tests of merging, and comparison of tensors."""

import torch
from torch.nn.modules.batchnorm import _BatchNorm


def randomise(model, seed=0):
    """Return `model` in float64 and eval mode with random weights and BatchNorm statistics.

    Weights and scales have both signs, so that no merge can ignore them.
    """
    rng = torch.Generator().manual_seed(seed)
    for module in model.double().eval().modules():
        own = dict(module.named_parameters(recurse=False))
        is_norm = isinstance(module, _BatchNorm)
        if is_norm and module.running_mean is not None:
            module.running_mean.uniform_(-1, 1, generator=rng)
            module.running_var.uniform_(0.2, 2, generator=rng)
        fan_in = own["weight"][0].numel() if "weight" in own and not is_norm else 1
        for tensor in own.values():
            tensor.data.uniform_(-1.5, 1.5, generator=rng).mul_(fan_in**-0.5)
    return model


def randn(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def relative_error(actual, expected):
    """Return max |actual - expected| / max |expected|."""
    return float(((actual - expected).abs().max() / expected.abs().max()).detach())


def assert_same(actual, expected, tolerance=1e-12):
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    assert relative_error(actual, expected) <= tolerance


def batch_norm(x, norm):
    """Return (x - mean) * gamma / sigma + beta (Eqs. 1 and 3 of the paper); channels are axis 1.

    sigma = sqrt(variance + eps)
    """
    mean, variance = norm.running_mean, norm.running_var
    sigma = (variance + norm.eps).sqrt()
    columns = [t.reshape(-1, *[1] * (x.dim() - 2)) for t in (mean, norm.weight, sigma, norm.bias)]
    mean, gamma, sigma, beta = columns
    return (x - mean) * gamma / sigma + beta


def norms_of(net):
    """Return the BatchNorm modules of `net`."""
    return [module for module in net.modules() if isinstance(module, _BatchNorm)]


def assert_equal(first, second):
    """Assert that two state dicts have the same tensors, bit for bit."""
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def assert_same_weights(first, second):
    """Assert that two modules have the same state, bit for bit."""
    assert_equal(first.state_dict(), second.state_dict())
