// The architecture as data: every number a model is made of, under the names of Hugging Face's config.json.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/rope_scaling.h"
#include "model/sharing.h"
#include "model/sparsity.h"

namespace ringflash {

/// How a layer attends: every earlier token, the ring of windows and global pages (DESIGN section 3), or the last
/// `sliding_window` tokens alone, its own included.
enum class AttentionKind { kFull, kRing, kSliding };

/// What the MLP's gate goes through: x sigma(x), or Gaussian's error linear unit by way of tanh.
enum class Activation { kSilu, kGeluTanh };

/// Which global pages a query reads: all behind its band, or the best-scored few.
enum class GlobalSelect { kAll, kTopPages };

/// Which way tokens look: back only, or both ways round the ring (encoders).
enum class AttentionMode { kCausal, kBidirectional };

std::string to_string(AttentionKind kind);
std::string to_string(GlobalSelect select);
std::string to_string(AttentionMode mode);
std::string to_string(Activation activation);  ///< Hugging Face's names: "silu", "gelu_pytorch_tanh"
Result<AttentionKind> parse_attention_kind(const std::string& text);
Result<GlobalSelect> parse_global_select(const std::string& text);
Result<AttentionMode> parse_attention_mode(const std::string& text);
Result<Activation> parse_activation(const std::string& text);

/// Ring attention's geometry. Tokens are cut into chunks of `stride`; a token sees its own chunk (causally)
/// and the window/stride chunks before it, plus the pages of all complete chunks behind those.
struct RingGeometry {
  int64_t window = 512;                      ///< a multiple of stride
  int64_t stride = 256;                      ///< tokens in a chunk
  double global_ratio = 0.05;                ///< share of a chunk that its page keeps
  int64_t sink_tokens = 4;                   ///< the first positions, visible to all; at most stride
  bool global_rope = false;                  ///< whether q and k of global logits are rotated
  GlobalSelect select = GlobalSelect::kAll;  ///< config key global_select
  int64_t top_pages_factor = 2;  ///< kappa: kTopPages reads kappa * ceil(log2 C) pages at chunk C - 1
  int64_t top_pages_run = 32;    ///< consecutive tokens of a chunk that read the pages their first one chose

  int64_t band_chunks() const { return window / stride; }  ///< m of DESIGN section 3
  int64_t page_tokens() const;                             ///< g = ceil(global_ratio * stride)
  int64_t chunk(int64_t position) const { return position / stride; }
  /// The first position of the run of top_pages_run tokens that this one is in; runs begin anew with each
  /// chunk.
  int64_t run_begin(int64_t position) const { return position - position % stride % top_pages_run; }
  /// Pages that a query in chunk `chunks` - 1 reads at most with kTopPages.
  int64_t page_budget(int64_t chunks) const;

  bool operator==(const RingGeometry&) const = default;
};

inline constexpr int64_t kMaxLayers = 4096;

struct ModelConfig {
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;
  int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-5;
  double rope_theta = 10000.0;
  RopeScaling rope_scaling;
  double embedding_multiplier = 1.0;  ///< the embedding's output is scaled by this
  /// So many channels, the last ones, of a token's embedding are those of the token before it (zeros at a document's
  /// start), so that one layer of attention can find what followed a token before: token shift (RWKV, Peng et al. 2023).
  int64_t embedding_shift = 0;
  Activation hidden_act = Activation::kSilu;
  bool attention_bias = false;  ///< whether q, k and v are products plus a bias (Qwen 2)
  bool qk_norm = false;         ///< whether each head's q and k go through an RMSNorm before they are rotated
  bool post_norms = false;      ///< whether attention's and the MLP's outputs do before they are added (Gemma)
  bool tie_word_embeddings = true;
  int64_t bos_token_id = 1;
  int64_t eos_token_id = 2;

  RingGeometry ring;
  AttentionMode attention_mode = AttentionMode::kCausal;
  std::vector<AttentionKind> attention;  ///< one per layer
  int64_t sliding_window = 0;            ///< keys that a token sees in a sliding layer
  double rope_local_base_freq = 0;       ///< theta of sliding layers, which no scaling stretches; 0: as the others
  SparsityConfig sparsity;
  SharingConfig sharing;

  int64_t query_size() const { return num_attention_heads * head_dim; }
  int64_t key_value_size() const { return num_key_value_heads * head_dim; }
  int64_t heads_per_group() const { return num_attention_heads / num_key_value_heads; }
  /// Whether a layer has a router: a ring layer whose pages keep anything.
  bool has_router(int64_t layer) const;
  bool has_layers(AttentionKind kind) const;
  /// What turns q and k in layers of this kind.
  RopeParameters rope(AttentionKind kind) const;

  bool operator==(const ModelConfig&) const = default;
};

/// Checks that the numbers fit together and within sane bounds, so that nothing sized from them overflows.
/// The error names the key, what it must be and what it is.
Status validate(const ModelConfig& config);

/// Refuses a model whose tokens look ahead. `purpose` ends the error's sentence: what cannot be done with
/// one.
Status require_causal(const ModelConfig& config, const std::string& purpose);

}  // namespace ringflash
