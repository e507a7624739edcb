"""Multiply-accumulates (MACs) of torch's operators: the formulas, and the operators without MACs.

MACs count convolutions, linear layers, recurrent layers and matrix products: one multiplication
and one addition make one MAC. The paper calls them FLOPs. Elementwise operators, normalisation,
pooling, interpolation and copies have none.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

Formula = Callable[..., int]  # (result, *arguments of the operator) -> MACs


def tensors_in(values: Any) -> Iterator[Tensor]:
    """Yield the tensors among `values`, also those in lists and tuples."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from tensors_in(value)


def _convolution(result: Tensor, images: Tensor, weight: Tensor, *_: Any) -> int:
    """outputs x (inputs / groups) x height x width of the kernel; weight (O, I / groups, ...)."""
    return result.numel() * math.prod(weight.shape[1:])


def _transposed(result: Tensor, images: Tensor, weight: Tensor, *_: Any) -> int:
    """inputs x (outputs / groups) x height x width of the kernel; weight (I, O / groups, ...)."""
    return images.numel() * math.prod(weight.shape[1:])


def _either(result: Tensor, images: Tensor, weight: Tensor, *others: Any) -> int:
    """The fifth of `others` (bias, stride, padding, dilation, transposed, ...) says which."""
    return (_transposed if others[4] else _convolution)(result, images, weight)


def _product(result: Tensor, left: Tensor, *_: Any) -> int:
    """outputs x inner size, of a linear layer or a matrix product."""
    return result.numel() * left.shape[-1]


def _product_added(result: Tensor, added: Tensor, left: Tensor, *_: Any) -> int:
    """outputs x inner size of `left @ right`, to which `added` is added."""
    return result.numel() * left.shape[-1]


def _batch_added(result: Tensor, added: Tensor, left: Tensor, right: Tensor, **_: Any) -> int:
    """The sum over a batch of (n, k) @ (k, m) matrices: batch x n x k x m."""
    return left.numel() * right.shape[-1]


def _attention(result: Any, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    """batch x heads x L x S x (E + E_v): products of L queries with S keys, and with values."""
    scores = math.prod(query.shape[:-1]) * key.shape[-2]
    return scores * (query.shape[-1] + value.shape[-1])


def _multi_head(tokens: Tensor, sources: Tensor, width: int) -> int:
    """Projections of (N, L, D) queries and (N, S, D) keys and values, attention, projection out."""
    batch, length, inner = tokens.shape
    source = sources.shape[1]
    projections = 2 * length * inner * width + 2 * source * inner * width
    return batch * (projections + 2 * length * source * width)


def _native_multi_head(
    result: Any, query: Tensor, key: Tensor, value: Tensor, width: int, *_: Any, **__: Any
) -> int:
    return _multi_head(query, key, width)


def _encoder_layer(result: Tensor, tokens: Tensor, width: int, *others: Any, **_: Any) -> int:
    """Multi-head attention of tokens with themselves, then two linear layers."""
    first, second = others[12], others[14]
    return _multi_head(tokens, tokens, width) + math.prod(tokens.shape[:2]) * (
        first.numel() + second.numel()
    )


def _recurrent(result: Any, inputs: Tensor, *others: Any) -> int:
    """Each weight matrix multiplies once a step: steps x batch x the elements of all matrices.

    `inputs` is (steps, batch, features) or the reverse; of packed sequences, (steps of all
    sequences, features). The weights are the last list among the next three arguments.
    """
    weights = [each for each in others[:3] if isinstance(each, (list, tuple))][-1]
    return math.prod(inputs.shape[:-1]) * _matrices(weights)


def _recurrent_cell(result: Any, inputs: Tensor, state: Any, *weights: Any) -> int:
    """One step: batch x the elements of both matrices."""
    return math.prod(inputs.shape[:-1]) * _matrices(weights[:2])


def _onednn_recurrent(result: Any, inputs: Tensor, *weights: Any) -> int:
    """One layer in one direction; `inputs` is (steps, batch, features)."""
    return math.prod(inputs.shape[:-1]) * _matrices(weights[:2])


def _matrices(weights: Any) -> int:
    return sum(weight.numel() for weight in weights if weight.dim() > 1)


def _bilinear(result: Tensor, left: Tensor, right: Tensor, weight: Tensor, *_: Any) -> int:
    """left^T W_o right for each output o: inner sizes I1 x I2 for left^T W_o, then I2."""
    return result.numel() * (left.shape[-1] + 1) * right.shape[-1]


def _affine_grid(result: Tensor, *_: Any) -> int:
    """Each coordinate of a point is a product with one row of [matrix | shift]."""
    return result.numel() * (result.shape[-1] + 1)


ATTENTION = ("scaled_dot_product_attention", "_scaled_dot_product_flash_attention_for_cpu")
CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "_convolution_mode")
TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")

# By the name of the operator, without its overload. Operators of torch (aten) have no prefix.
FORMULAS: dict[str, Formula] = {
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    **dict.fromkeys(TRANSPOSED, _transposed),
    **dict.fromkeys(["convolution", "_convolution"], _either),
    **dict.fromkeys(["linear", "matmul", "mm", "bmm", "mv", "dot", "vdot"], _product),
    **dict.fromkeys(["addmm", "_addmm_activation", "baddbmm", "addmv"], _product_added),
    "addbmm": _batch_added,
    **dict.fromkeys(ATTENTION, _attention),
    "_native_multi_head_attention": _native_multi_head,
    "_transformer_encoder_layer_fwd": _encoder_layer,
    **dict.fromkeys(RECURRENT, _recurrent),
    **dict.fromkeys([f"{name}_cell" for name in RECURRENT], _recurrent_cell),
    "mkldnn_rnn_layer": _onednn_recurrent,
    "bilinear": _bilinear,
    "affine_grid_generator": _affine_grid,
    "torchvision::deform_conv2d": _convolution,
}

# Operators without MACs, by kind; those that torch tags as elementwise or as views are not listed.
_KINDS = {
    "reductions and scans": """
        all any amax amin aminmax _aminmax argmax argmin count_nonzero linalg_vector_norm logsumexp
        max mean min nansum norm prod std std_mean sum var var_mean median nanmedian mode kthvalue
        trace dist _is_all_true _is_any_true cumsum cumprod cummax cummin _cummax_helper
        _cummin_helper logcumsumexp
    """,
    "normalisation": """
        native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training
        _native_batch_norm_legit_functional _batch_norm_no_update cudnn_batch_norm miopen_batch_norm
        native_layer_norm native_group_norm _fused_rms_norm renorm _weight_norm_interface softmax
        log_softmax _softmax _log_softmax _safe_softmax _masked_softmax
    """,
    "elementwise": """
        hardswish floor_divide _add_relu _masked_scale glu _prelu_kernel rrelu_with_noise
        log_sigmoid_forward native_dropout _fused_dropout _thnn_fused_lstm_cell _thnn_fused_gru_cell
        _transform_bias_rescale_qkv linalg_cross complex polar isin quantize_per_tensor
        quantize_per_tensor_dynamic quantize_per_channel dequantize int_repr
        fake_quantize_per_tensor_affine_cachemask fake_quantize_per_channel_affine_cachemask
        _fake_quantize_per_tensor_affine_cachemask_tensor_qparams
    """,
    "elementwise, not tagged so in torch 2.4 and 2.5": """
        celu elu hardshrink hardsigmoid hardtanh leaky_relu mish rad2deg relu6 rrelu selu softplus
        softshrink threshold _conj_physical
    """,
    "pooling": """
        _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d avg_pool2d
        avg_pool3d max_pool2d_with_indices max_pool3d_with_indices fractional_max_pool2d
        fractional_max_pool3d max_unpool2d max_unpool3d mkldnn_max_pool2d mkldnn_max_pool3d
        mkldnn_adaptive_avg_pool2d quantized_max_pool1d quantized_max_pool2d quantized_max_pool3d
        torchvision::nms torchvision::roi_align torchvision::roi_pool torchvision::ps_roi_align
        torchvision::ps_roi_pool
    """,
    "interpolation": """
        upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
        _upsample_nearest_exact2d _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d
        upsample_bicubic2d upsample_trilinear3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa
        grid_sampler_2d grid_sampler_3d cudnn_grid_sampler _grid_sampler_2d_cpu_fallback
    """,
    "copies": """
        clone copy _to_copy _lazy_clone _pin_memory contiguous to_mkldnn _to_dense cat _chunk_cat
        stack _stack repeat repeat_interleave roll flip rot90 constant_pad_nd reflection_pad1d
        reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d tril
        triu diag_embed block_diag im2col col2im unfold_copy pixel_shuffle pixel_unshuffle
        channel_shuffle native_channel_shuffle _unsafe_view _reshape_copy unsafe_split
        unsafe_split_with_sizes unsafe_chunk _pack_padded_sequence lift lift_fresh resize set zero
        record_stream
    """,
    "selection": """
        index index_select index_add index_copy index_fill index_put _index_put_impl index_reduce
        _unsafe_index _unsafe_index_put _unsafe_masked_index gather scatter scatter_add
        scatter_reduce segment_reduce masked_fill masked_scatter masked_select take put
        slice_scatter select_scatter diagonal_scatter as_strided_scatter embedding _embedding_bag
        _embedding_bag_forward_only sort topk unique_dim unique_consecutive _unique _unique2
        searchsorted bucketize histc bincount nonzero nonzero_static
    """,
    "new tensors": """
        empty empty_like empty_strided empty_permuted zeros zeros_like ones ones_like full full_like
        new_empty new_empty_strided new_zeros new_ones new_full arange range linspace logspace eye
        scalar_tensor _efficientzerotensor tril_indices triu_indices hann_window hamming_window
        bartlett_window blackman_window kaiser_window fft_fftfreq fft_rfftfreq fill rand rand_like
        randn randn_like randint randint_like randperm random uniform normal bernoulli exponential
        cauchy geometric poisson log_normal multinomial
    """,
}
WITHOUT_MACS = frozenset(name for names in _KINDS.values() for name in names.split())


def formula_of(func: Any) -> Formula | None:
    """Return the formula of an operator, also of `addmm_` and the like; None without one."""
    name = name_of(func)
    return FORMULAS.get(name) or FORMULAS.get(name.removesuffix("_"))


def name_of(func: Any) -> str:
    """Return the name of an operator: `conv2d` of torch's own, `library::name` of any other."""
    return str(func._schema.name).removeprefix("aten::")


def has_no_macs(func: Any) -> bool:
    """Whether `func` is known to do no multiply-accumulates.

    It then returns and writes no tensor, is a view, is tagged as elementwise, or is in the table
    WITHOUT_MACS. An operator in place, such as `relu_`, is like the one with the same name without
    the last underscore. False means only that it is not known.
    """
    name = name_of(func)
    return name.rstrip("_") in WITHOUT_MACS or _is_tagged(name) or not _gives_tensors(func)


@functools.cache
def _is_tagged(name: str) -> bool:
    """Whether an overload of `name`, or of the same operator not in place, is known by its tags."""
    namespace, _, short = name.rpartition("::")
    library = getattr(torch.ops, namespace or "aten")
    packets = [getattr(library, each, None) for each in {short, short.rstrip("_")}]
    overloads = [
        getattr(packet, overload) for packet in packets if packet for overload in packet.overloads()
    ]
    known = {torch.Tag.pointwise, torch.Tag.view_copy, torch.Tag.inplace_view}
    return any(each.is_view or known & set(each.tags) for each in overloads)


def _gives_tensors(func: Any) -> bool:
    """Whether an operator returns a tensor, or writes one of its arguments."""
    schema = func._schema
    aliases = [each.alias_info for each in schema.arguments if each.alias_info is not None]
    return any(alias.is_write for alias in aliases) or any(
        "Tensor" in str(each.type) for each in schema.returns
    )
