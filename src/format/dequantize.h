// Any float or quantised tensor of a GGUF file as fp32.
#pragma once

#include <span>
#include <vector>

#include "format/block_imported.h"
#include "format/block_q4_0.h"
#include "format/block_q4_1.h"
#include "format/block_q5_0.h"
#include "format/block_q8_0.h"
#include "format/gguf.h"

namespace ringflash {

/// One block of each type; the block_*.h files have the formulas. Results are rounded to fp32 at most once.
void dequantize(const BlockQ4_0& block, std::span<float, BlockQ4_0::kWeights> weights);
void dequantize(const BlockQ8_0& block, std::span<float, BlockQ8_0::kWeights> weights);
void dequantize(const BlockQ4_1& block, std::span<float, BlockQ4_1::kWeights> weights);
void dequantize(const BlockQ5_0& block, std::span<float, BlockQ5_0::kWeights> weights);
void dequantize(const BlockQ5_1& block, std::span<float, BlockQ5_1::kWeights> weights);
void dequantize(const BlockQ4_K& block, std::span<float, BlockQ4_K::kWeights> weights);
void dequantize(const BlockQ5_K& block, std::span<float, BlockQ5_K::kWeights> weights);
void dequantize(const BlockQ6_K& block, std::span<float, BlockQ6_K::kWeights> weights);
void dequantize(const BlockQ2_K& block, std::span<float, BlockQ2_K::kWeights> weights);
void dequantize(const BlockQ3_K& block, std::span<float, BlockQ3_K::kWeights> weights);
void dequantize(const BlockIQ4_NL& block, std::span<float, BlockIQ4_NL::kWeights> weights);
void dequantize(const BlockIQ4_XS& block, std::span<float, BlockIQ4_XS::kWeights> weights);

/// All of the tensor's elements in their order. The error names the tensor where its type holds no floats.
Result<std::vector<float>> read_floats(const GgufTensor& tensor);

}  // namespace ringflash
