// A foreign model as a checkpoint would hold it: our config, and for each tensor of its inventory where the values come
// from.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "format/safetensors.h"
#include "model/config.h"
#include "model/tensors.h"

namespace ringflash {

struct ImportedTensor {
  TensorSpec spec;
  DType dtype;  ///< of the floats that hold its values exactly: F16 and BF16 stay what they are, all else is F32
  /// The values, row by row. Keeps the file that they are in open.
  std::function<Result<std::vector<float>>()> read;
};

struct ImportedModel {
  std::string architecture;  ///< as the source names it
  ModelConfig config;
  std::vector<ImportedTensor> tensors;         ///< the inventory's, in its order
  std::map<std::string, int64_t> stored_types;  ///< how many tensors the source stores as which type
};

/// The sequence of numbers in what a model with Gemma's query_pre_attn_scalar multiplies q's gain with, so that its
/// logits come out as q . k / sqrt(head_dim): sqrt(head_dim / scalar).
double query_gain(int64_t head_dim, double query_pre_attn_scalar);

}  // namespace ringflash
