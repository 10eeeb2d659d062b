// The decoder block of DESIGN section 4 for one piece of a sequence: which weights meet which activations.
// The arithmetic is in kernels/, split here over the threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "base/executor.h"
#include "kernels/kernels.h"
#include "kernels/rope.h"
#include "runtime/kv_cache.h"
#include "runtime/model.h"

namespace ringflash {

/// Consecutive positions that go through the layers together.
struct TokenRun {
  int64_t first, tokens;
  int64_t row = 0;  ///< of the first one in the workspace's buffers
};

/// What computes, and what it computes on. All buffers are [tokens, width], for as many tokens as cover_tokens() was told of.
struct Workspace {
  Workspace(const ModelConfig& config, Executor& threads);

  const ModelConfig& config;
  const kernels::Table& kernels;
  Executor& executor;
  AlignedVector<float> hidden;  ///< the residual stream
  AlignedVector<float> normed;  ///< and later the block's output, before it is added
  AlignedVector<float> q, q_rotated, k, k_rotated, v, router, attended;
  AlignedVector<float> gate, up;
  AlignedVector<float> logits;  ///< of one token's attention, where threads share it
  RoundedTokens rounded;
  DeltaBuffers deltas;
  kernels::RopeTable rope, sliding_rope;  ///< the latter of sliding layers, and empty where there are none

  const kernels::RopeTable& rope_of(AttentionKind kind) const {
    return kind == AttentionKind::kSliding ? sliding_rope : rope;
  }
  /// Makes room for so many tokens; what the buffers held may be gone.
  void cover_tokens(int64_t tokens);
  /// Makes the tables cover positions [first, first + count).
  void cover_positions(int64_t first, int64_t count);
};

/// y[t, o] = sum_i x[t, i] * w[o, i]; x is [tokens, w.columns], y is [tokens, w.rows].
void matmul(Workspace& work, const WeightMatrix& w, const float* x, float* y, int64_t tokens);

/// y = RMSNorm(x) * gain over rows of hidden_size.
void rms_norm(const Workspace& work, const float* x, const float* gain, float* y, int64_t tokens);

/// hidden = embedding rows of `ids`, times embedding_multiplier; the last embedding_shift channels are those of the
/// token before. `previous` is the one before the first, or kNoToken.
void embed(const Model& model, int32_t previous, std::span<const int32_t> ids, Workspace& work);
inline constexpr int32_t kNoToken = -1;

/// hidden goes through one layer; `cache` has one entry per KV head and takes in the piece's keys and values.
void run_layer(const LayerWeights& weights, TokenRun piece, std::vector<HeadCache>& cache, Workspace& work);

}  // namespace ringflash
