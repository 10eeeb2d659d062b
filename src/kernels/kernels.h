// The whole kernel API: one table of function pointers, filled once for the best instruction set of the machine.
// Plain pointers and strides, row-major, fp32 unless a type says otherwise. Kernels are single-threaded pure
// functions of their arguments; whoever calls them splits the work (ring_attention.h, the runtime's layers).
// Strides count elements, not bytes. No pointer needs alignment. Nothing is read or written past what is stated.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/float16.h"
#include "base/result.h"
#include "format/block_q4_0.h"
#include "format/block_q4_1.h"
#include "format/block_q5_0.h"
#include "format/block_q8_0.h"
#include "format/sparse_shape.h"
#include "kernels/block_kernels.h"
#include "kernels/dynamic_map.h"
#include "kernels/split_attention.h"
#include "kernels/wide_kernels.h"

namespace ringflash::kernels {

// ---- Attention ----

/// The queries of one KV head's group: `tokens` consecutive positions times `heads` query heads that share keys.
struct QueryBlock {
  const float* q;         ///< rotated queries: q[t * token_stride + h * head_stride + i]
  const float* q_global;  ///< the same unrotated, for spans with `global` set, tokens global_token_stride apart
  int64_t tokens, heads, head_dim;
  int64_t token_stride, global_token_stride, head_stride;
  float scale;            ///< logits are scale * (q . k) + bias
};

/// How a table's attention kernels keep keys and values: its inputs are rounded to this type.
enum class KeyType { kF32, kBf16 };

/// Keys come in blocks of this many.
inline constexpr int64_t kBlockKeys = 32;

/// Numbers in a stored row of a key or a value: head_dim and zeros up to a multiple of 32.
constexpr int64_t padded_dim(int64_t head_dim) {
  return (head_dim + 31) / 32 * 32;
}

/// Keys and values of one KV head as the kernels read them (packed_keys.h writes them), of the table's key_type.
/// Whole blocks are read; what lies past the last key must be finite.
struct KeyRows {
  const void* k;            ///< [keys, padded_dim]
  const void* v;            ///< transposed: element i of key j is v[j / 32 * v_block + i * v_row + j % 32]
  int64_t v_row, v_block;   ///< in elements
};

/// Kernels look at a span's keys in steps of at most this many from begin on: spans that begin at multiples of it are
/// summed alike, whatever else they hold.
inline constexpr int64_t kSpanSteps = 128;

/// A run of keys that the queries of a block may see.
struct KeySpan {
  KeyRows rows;
  KeyRows swapped;          ///< the same with keys and values exchanged; read by attend_backward alone
  const float* bias;        ///< [end], added to the logits; null for none
  const float* query_bias;  ///< [tokens], added to the logits of each query; null for none
  int64_t begin, end;       ///< keys [begin, end) of the rows
  int64_t visible;          ///< query token t sees keys below min(end, visible + t): kAllVisible, or a causal edge
  int64_t window;           ///< where not 0, it sees none below visible + t - window, either
  bool global;              ///< logits use q_global instead of q
};
inline constexpr int64_t kAllVisible = int64_t{1} << 40;

/// Where attention's result goes; same indexing as QueryBlock.
struct AttentionOutput {
  float* out;                  ///< out[t * token_stride + h * head_stride + i]
  int64_t token_stride, head_stride;
  float* lse;                  ///< log-sum-exp of the logits, lse[t * lse_token_stride + h]; null if unwanted
  int64_t lse_token_stride;
};

/// Gradients that flow in, and what the forward pass left.
struct AttentionGradInput {
  const float* dout;           ///< gradient of out; indexed as AttentionOutput::out
  const float* out;
  int64_t token_stride, head_stride;
  const float* lse;
  int64_t lse_token_stride;
};

/// Gradients that flow out to the queries; both are added to. dq_global may equal dq, and be null where no span is
/// global.
struct QueryGrad {
  float* dq;
  float* dq_global;
  int64_t token_stride, head_stride;
};

/// Gradients that flow out to one span; all are added to, whole blocks at a time (what is added for keys that no
/// query sees is 0). dbias and dquery_bias are null where the span has no such bias.
struct KeySpanGrad {
  float* dk;     ///< [keys, padded_dim], indexed as KeyRows::k
  float* dv;
  float* dbias;  ///< [end]
  float* dquery_bias;  ///< [tokens]
};

/// One step of AdamW: m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2 with g = grad_scale * gradient,
/// then w -= u * (decay * w + rate * m / (sqrt(v) * root_correction + epsilon)), and w goes u * shrink nearer to
/// zero, at most as far as zero. u is 1 for weights that the mask keeps (no mask keeps all), else pruned_scale.
struct AdamWStep {
  float beta1, beta2, epsilon;
  float rate;             ///< learning rate / (1 - beta1^t)
  float root_correction;  ///< 1 / sqrt(1 - beta2^t)
  float decay;            ///< learning rate * weight decay
  float grad_scale;
  float pruned_scale = 1;
  float shrink = 0;       ///< learning rate * L1: a decoupled soft threshold
};

// ---- Products with quantised weights ----

/// Inputs whose activations share a scale.
inline constexpr int64_t kInt8Group = 64;

/// Groups whose largest magnitude is below this are taken for zeros, so that no scale is subnormal.
inline constexpr float kLeastInt8Maximum = 1e-30f;

/// Tokens that lie side by side: as many as a kernel has sums for in registers.
inline constexpr int64_t kInt8Tile = 16;

/// Activations [tokens, in] rounded to 8 bits: x[t, i] is about scales[p] * (values[64 p + i % 64] - 128), where p is
/// place(i / 64, t). The values of one token and group are a table of 64 bytes, from which kernels gather what sparse
/// rows need. A tile's groups follow one another, so that a pass over the inputs reads memory in order.
struct Int8Tokens {
  const uint8_t* values;  ///< [groups * tokens, 64], from 1 to 255; 128 past the last input
  const float* scales;    ///< [groups * tokens]
  int64_t tokens, in;

  [[gnu::always_inline]] int64_t groups() const { return (in + kInt8Group - 1) / kInt8Group; }
  /// [tile of 16 tokens][group][token of the tile].
  [[gnu::always_inline]] int64_t place(int64_t group, int64_t token) const {
    const int64_t first = token / kInt8Tile * kInt8Tile;
    const int64_t width = tokens - first < kInt8Tile ? tokens - first : kInt8Tile;
    return first * groups() + group * width + token - first;
  }
};

// ---- The table ----

struct Table {
  const char* isa;  ///< "scalar", "avx2", "avx512", "avx512bf16", "amx", "neon"
  KeyType key_type;

  /// softmax over the union of all spans: out = sum_u p_u v_u with p = softmax(scale * q.k_u + bias_u).
  /// A query that sees no key at all gets zeros and lse = -infinity. Online softmax (Milakov and Gimelshein 2018;
  /// Dao et al., FlashAttention, 2022): memory does not grow with the spans.
  void (*attend)(const QueryBlock& queries, std::span<const KeySpan> spans, const AttentionOutput& output);

  const SplitAttention* split_attention;  ///< null where a token's attention is always one task

  /// Backward of attend, recomputing p from lse. grads[i] belongs to spans[i].
  void (*attend_backward)(const QueryBlock& queries, std::span<const KeySpan> spans,
                          const AttentionGradInput& input, const QueryGrad& query_grad,
                          std::span<const KeySpanGrad> grads);

  /// y[t, o] = sum_i x[t, i] * w[o, i] for o in [out_begin, out_end). x is [tokens, in], y is [tokens, y_stride].
  /// The order of the sum does not depend on `tokens`, so a token's result is the same in any batch. Where
  /// key_type is bf16, matmul_bf16 rounds x to bf16 (some shapes and odd addresses excepted); its range must
  /// then begin at a multiple of 32 for a result not to depend on the range.
  void (*matmul_f32)(const float* x, const float* w, float* y, int64_t tokens, int64_t in, int64_t y_stride,
                     int64_t out_begin, int64_t out_end);
  void (*matmul_bf16)(const float* x, const bf16* w, float* y, int64_t tokens, int64_t in, int64_t y_stride,
                      int64_t out_begin, int64_t out_end);

  /// Rounds tokens [begin, end) of x [tokens, in] to 8 bits, to where Int8Tokens has them: a scale is max|x| / 127 over
  /// its 64 inputs, values are x / scale rounded to nearest even.
  void (*round_to_int8)(const float* x, int64_t tokens, int64_t in, int64_t begin, int64_t end, uint8_t* values,
                        float* scales);

  /// y[t, o] = sum_i x[t, i] * w[o, i] like matmul_f32, of activations rounded to 8 bits. Products within a block of
  /// weights are summed exactly, and a token's result has the same bits in any range of outputs and in any batch on the same
  /// side of least_panel_tokens. Blocks are of 32 weights along `in`, which is a multiple of 32.
  void (*matmul_q8_0)(const Int8Tokens& x, const BlockQ8_0* w, float* y, int64_t y_stride, int64_t out_begin,
                      int64_t out_end);
  void (*matmul_q4_0)(const Int8Tokens& x, const BlockQ4_0* w, float* y, int64_t y_stride, int64_t out_begin,
                      int64_t out_end);
  /// A block gives d times the sum of its n x, plus m times that of its x.
  void (*matmul_q4_1)(const Int8Tokens& x, const BlockQ4_1* w, float* y, int64_t y_stride, int64_t out_begin,
                      int64_t out_end);
  void (*matmul_q5_0)(const Int8Tokens& x, const BlockQ5_0* w, float* y, int64_t y_stride, int64_t out_begin,
                      int64_t out_end);

  /// The same for superblocks of S4 or S8, all of the matrix's, and 16 outputs at a time.
  void (*matmul_sparse)(const Int8Tokens& x, const SparseFormat& format, const std::byte* blocks, float* y,
                        int64_t y_stride, RowBlocks rows);

  /// From so many tokens on, products in 8 bits sum in another order, sparse ones in the bitmap form alone; 0 if they never do.
  int64_t least_panel_tokens;

  /// y = x / sqrt(mean(x^2) + eps) * gain, per row of [rows, width] (Zhang and Sennrich 2019).
  void (*rms_norm)(const float* x, const float* gain, float* y, int64_t rows, int64_t width, float eps);

  /// y = silu(gate) * up, element by element; y may be gate or up (Shazeer 2020).
  void (*swiglu)(const float* gate, const float* up, float* y, int64_t count);

  /// The same with gelu(gate) = gate (1 + tanh(sqrt(2 / pi) (gate + 0.044715 gate^3))) / 2 in silu's place.
  void (*geglu)(const float* gate, const float* up, float* y, int64_t count);

  /// y = one head vector of 2 * half numbers with each pair (i, i + half) turned by the angle of that cosine and
  /// sine (Su et al. 2021), sign -1 turning it back. y may be x.
  void (*rope)(const float* x, float* y, const float* cosine, const float* sine, int64_t half, float sign);

  /// y += x.
  void (*add)(const float* x, float* y, int64_t count);

  /// y += factor * x.
  void (*add_scaled)(float factor, const float* x, float* y, int64_t count);

  // Training only.

  /// Gradients of rms_norm: dx is overwritten, dgain [width] is added to.
  void (*rms_norm_backward)(const float* x, const float* gain, const float* dy, float* dx, float* dgain,
                            int64_t rows, int64_t width, float eps);

  /// swiglu on bf16, and its gradients; the outputs may be the inputs.
  void (*swiglu_bf16)(const bf16* gate, const bf16* up, bf16* y, int64_t count);
  void (*swiglu_backward_bf16)(const bf16* gate, const bf16* up, const bf16* dy, bf16* dgate, bf16* dup,
                               int64_t count);

  /// loss[row] = -log softmax(logits[row])[targets[row]], and logits become the gradient of that by the logits:
  /// softmax minus one at the target. A negative target gives loss 0 and gradient 0. logits are [rows, vocab].
  void (*cross_entropy_bf16)(bf16* logits, const int64_t* targets, float* loss, int64_t rows, int64_t vocab);

  /// The same with (1 - weight) [target] + weight softmax(opinion) in the target's place (Hinton et al. 2015); opinion,
  /// a teacher's logits, is [rows, vocab].
  void (*distillation_bf16)(bf16* logits, const bf16* opinion, const int64_t* targets, float weight, float* loss,
                            int64_t rows, int64_t vocab);

  /// Updates weights w and moments m, v in place (Loshchilov and Hutter 2019). mask is null, or a byte for each
  /// weight: 1 for kept, 0 for pruned.
  void (*adamw)(float* w, const float* gradient, float* m, float* v, const uint8_t* mask, int64_t count,
                const AdamWStep& step);

  /// The same with the moments in 8 bits (dynamic_map.h). A call begins where a block does.
  void (*adamw8)(float* w, const float* gradient, const Moments8& moments, const uint8_t* mask, int64_t count,
                 const AdamWStep& step);

  /// Block-sparse linear layers.
  BlockKernels block;

  /// Products of many tokens; null where the processor has nothing for them.
  const WideKernels* wide;
};

/// The table in force: RINGFLASH_ISA's if set, else the best one this machine has. An unknown or unsupported
/// RINGFLASH_ISA ends the program with exit code 2 and the list of choices.
const Table& table();

/// Every table this machine can run, scalar first: tests sweep them.
std::vector<const Table*> available_tables();

/// Whether the processor multiplies bf16 in hardware, so that libraries do so faster than in fp32.
bool has_fast_bf16();

/// Whether this process may use AMX's bf16 tiles. Linux hands them out on request, which this makes, and may refuse.
bool may_use_amx();

/// What attention multiplies q . k with: 1 / sqrt(head_dim) (Vaswani et al. 2017).
float logit_scale(int64_t head_dim);

}  // namespace ringflash::kernels
