"""What is read in the code that AOTInductor has generated."""

import pytest

from bench.backends import pt2_file
from bench.backends.backend import WrongEngineError
from bench.records import Gelus

DECLARED = """
extern "C"  void  cpp_fused_gelu_0(const float* in_ptr0,
                       float* out_ptr0);
void AOTInductorModel::run_impl(
    AtenTensorHandle* input_handles,
    AOTIProxyExecutorHandle proxy_executor
) {
"""
KERNEL = """
extern "C"  void  cpp_fused_gelu_0(const {type}* in_ptr0,
                       float* out_ptr0)
{{
    #pragma omp parallel
    {{
        auto tmp1 = {formula};
    }}
}}
"""
EMPTY = "CHECK(aoti_torch_empty_strided(4, a, b, cached_torch_dtype_{type}, c));"
CONVOLUTION = """
    const char* var_0 = "{formula}";
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_cpu_mkldnn__convolution_pointwise(buf1, 1L, "gelu", \
std::array<const double*, 1>{{nullptr}}.data(), 1, &var_0, &buf3_handle));
"""
LINEAR = """
    double var_1 = -1L;
    const char* var_2 = "{formula}";
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_cpu__linear_pointwise(buf1, "gelu", \
std::array<const double*, 1>{{&var_1}}.data(), 1, &var_2, &buf4_handle));
"""
CALL = "    cpp_fused_gelu_0((const float*)(arg1.data_ptr()), (float*)(buf0.data_ptr()));\n"
ERF, TANH = "tmp0.erf()", "std::tanh(tmp0)"


def code(*calls, formula=ERF, kernel_type="float", value_type="float32"):
    text = DECLARED + "    " + EMPTY.format(type=value_type) + "\n" + "".join(calls) + "}\n"
    return pt2_file.code_of(text + KERNEL.format(type=kernel_type, formula=formula))


@pytest.mark.parametrize("call", [CONVOLUTION, LINEAR])
def test_the_formula_of_a_gelu_that_is_fused_with_a_kernel_of_torch(call):
    assert pt2_file.gelus(code(call.format(formula="none"))) == Gelus(1, 0)
    assert pt2_file.gelus(code(call.format(formula="tanh"))) == Gelus(0, 1)


def test_the_formula_of_a_gelu_in_a_generated_kernel_counts_where_it_is_called():
    assert pt2_file.gelus(code(CALL, formula=ERF)) == Gelus(1, 0)
    assert pt2_file.gelus(code(CALL, CALL, formula=TANH)) == Gelus(0, 2)
    assert pt2_file.gelus(code(formula=TANH)) == Gelus(0, 0)


def test_operators_have_their_names_without_numbers():
    found = code(CALL, CALL, CONVOLUTION.format(formula="none"))
    assert pt2_file.operators(found) == {"cpp_fused_gelu": 2, "mkldnn__convolution_pointwise": 1}
    proxy = "    aoti_torch_proxy_executor_call_function(proxy_executor, 0, 1, args);\n"
    assert pt2_file.operators(code(proxy)) == {"proxy_executor_call_function": 1}


def test_types_of_values_of_arguments_and_of_what_a_kernel_rounds_to():
    linear = LINEAR.format(formula="none")  # whose `const double*` is no type of a value
    assert pt2_file.types(code(CALL, linear)) == ["float"]
    assert pt2_file.types(code(CALL, value_type="bfloat16")) == ["bfloat16", "float"]
    assert pt2_file.types(code(CALL, kernel_type="at::Half")) == ["float", "float16"]
    assert pt2_file.types(code(CALL, kernel_type="int8_t")) == ["float", "int8"]
    rounded = "static_cast<float>(c10::convert<at::BFloat16>(tmp0))"
    assert pt2_file.types(code(CALL, formula=rounded)) == ["bfloat16", "float"]
    assert pt2_file.types(code(formula=rounded)) == ["float"]


def test_a_package_whose_code_is_not_there_is_refused():
    with pytest.raises(WrongEngineError, match="no code of a call"):
        pt2_file.code_of(KERNEL)
    with pytest.raises(WrongEngineError, match="no code of cpp_fused_gelu_0"):
        pt2_file.code_of(DECLARED + CALL + "}\n")
