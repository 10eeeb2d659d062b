// No figure without a check: sampled rows of a fast result against the reference.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "base/executor.h"
#include "bench/attention_reference.h"

namespace ringflash::bench {

/// Results as attention_forward and attention_backward leave them: [rows, heads, head_dim], of which the first is
/// that of position `first`. dq may be empty.
struct AttentionResult {
  int64_t first = 0;
  std::span<const float> out, dq;
};

/// Compares every head of at most 16 positions, the edges of chunks and of the sequence among them. The error says
/// where `result` is off and by how much.
Status check_attention(const kernels::AttentionShape& shape, const AttentionInputs& inputs,
                       const AttentionResult& result, const kernels::Table& table, Executor& executor);

}  // namespace ringflash::bench
