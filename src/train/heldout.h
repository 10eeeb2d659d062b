// Evaluation on the held-out documents during training.
#pragma once

#include <torch/types.h>

#include <vector>

#include "data/packed_rows.h"
#include "text/vocabulary.h"
#include "train/metrics.h"
#include "train/causal_lm.h"

namespace ringflash {

/// How many bytes of text each id stands for: byte pieces 1, control pieces 0.
std::vector<int32_t> piece_bytes(const Vocabulary& vocabulary);

struct BatchTensors {
  torch::Tensor ids, targets;
  std::vector<int64_t> bounds;
};
BatchTensors to_tensors(const PackedBatch& batch, torch::Device device);

/// Looks at the first `max_tokens` (0: all) of the held-out rows, `rows` at a time, in the dataset's order.
/// Bits per byte count the bytes of the predicted tokens; predicting the end of a document costs bits, no bytes.
HeldoutMetrics evaluate_heldout(CausalLm& model, const TokenDataset& dataset, int64_t length, int64_t rows,
                                int64_t max_tokens, const std::vector<int32_t>& bytes_of_piece,
                                torch::ScalarType compute, torch::Device device);

}  // namespace ringflash
