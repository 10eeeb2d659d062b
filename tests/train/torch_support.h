// Comparing tensors with the tests' one comparison.
#pragma once

#include <string>

#include "expect_close.h"
#include "model/presets.h"
#include "train/torch_headers.h"

namespace ringflash::testing {

inline void expect_close(const torch::Tensor& actual, const torch::Tensor& expected, Tolerance tolerance,
                         const std::string& what) {
  ASSERT_TRUE(actual.defined()) << what;
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  const torch::Tensor a = actual.detach().to(torch::kFloat32).contiguous();
  const torch::Tensor e = expected.detach().to(torch::kFloat64).contiguous();
  const auto count = static_cast<size_t>(a.numel());
  EXPECT_TRUE(is_close(std::span<const float>(a.data_ptr<float>(), count),
                       std::span<const double>(e.data_ptr<double>(), count), tolerance))
      << what;
}

inline torch::Tensor random_tensor(at::IntArrayRef shape, uint64_t seed) {
  return torch::randn(shape, at::detail::createCPUGenerator(seed), torch::TensorOptions(torch::kFloat64));
}

/// A fresh fp32 leaf with the values of a double tensor, rounded.
inline torch::Tensor float_leaf(const torch::Tensor& values) {
  return values.detach().to(torch::kFloat32).requires_grad_(true);
}

/// The same values in double, as a leaf of their own: what the fp32 leaf really holds.
inline torch::Tensor double_leaf(const torch::Tensor& values) {
  return values.detach().to(torch::kFloat32).to(torch::kFloat64).requires_grad_(true);
}

/// The tiny preset with chunks of 8, so that a few dozen tokens have pages, and groups of two heads.
inline ModelConfig small_config() {
  ModelConfig config = preset_config("tiny").value();
  config.ring = {.window = 16, .stride = 8, .global_ratio = 0.25, .sink_tokens = 2};
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  return config;
}

}  // namespace ringflash::testing
