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

/// sqrt(head_dim / query_pre_attn_scalar): what q's gain is multiplied with, so that logits divided by the root of
/// head_dim, as ours are, come out as Gemma's, which are divided by that of the scalar.
double query_gain(int64_t head_dim, double query_pre_attn_scalar);

}  // namespace ringflash
