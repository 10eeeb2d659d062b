// What the memory and the arithmetic of training depend on.
#pragma once

#include <cstdint>

#include "model/config.h"

namespace ringflash {

inline constexpr int64_t kFloat = 4;  ///< bytes of weights, gradients and the residual stream's numbers

struct TrainingSetup {
  ModelConfig model;
  int64_t sequence = 1024;    ///< tokens in a row
  int64_t batch = 1;          ///< rows in a micro-batch
  int64_t accumulation = 1;   ///< micro-batches in a step
  int64_t compute_bytes = 2;  ///< of a number in matrix products: 2 (bf16, fp16) or 4
  int64_t optimizer_bits = 32;
  /// Masks that grow (mask_method magnitude): the run begins, and peaks, with all weights there.
  bool begins_dense = true;
  /// Of numbers in packed keys and packed activations; what this machine's kernels take, 2 or 4.
  int64_t packed_bytes = 2;
  /// Whether our kernels run; elsewhere attention is made of torch's own ops, with whole matrices of logits.
  bool on_cpu = true;
  int64_t processes = 1;
  int64_t slices = 1;  ///< processes that share each row (sequence_parallel)

  /// Of a micro-batch, in one process.
  int64_t tokens() const { return sequence * batch / slices; }
  /// Of a step, in all of them.
  int64_t step_tokens() const { return processes * accumulation * tokens(); }
};

}  // namespace ringflash
