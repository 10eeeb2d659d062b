#include "runtime/session.h"

#include <algorithm>
#include <string>

#include "base/grow.h"
#include "runtime/kv_cache.h"
#include "runtime/layers.h"

namespace ringflash {
namespace {

// Tokens that go through the layers together: enough for the matmuls to run at the speed of arithmetic, fewer
// where a layer is so wide that its activations would take more than kActivations numbers.
constexpr int64_t kPieceTokens = 512;
constexpr int64_t kActivations = int64_t{1} << 26;

// Tables are made for so many positions at least, so that decoding one by one does not make one each time.
constexpr int64_t kPositions = 128;

// Logits computed together; a row is as long as the vocabulary.
constexpr int64_t kLogits = int64_t{1} << 21;

int64_t longest_piece(const ModelConfig& c, int64_t context) {
  const int64_t width = std::max({c.hidden_size, c.intermediate_size, c.query_size()});
  return std::min(context, std::clamp<int64_t>(kActivations / width, 1, kPieceTokens));
}

}  // namespace

struct Session::State {
  State(const Model& m, Executor& executor, int64_t context_)
      : model(m),
        config(m.config()),
        context(context_),
        piece_tokens(longest_piece(config, context)),
        logit_rows(std::clamp<int64_t>(kLogits / config.vocab_size, 1, piece_tokens)),
        work(config, executor) {
    for (const AttentionKind kind : config.attention) {
      caches.emplace_back(static_cast<size_t>(config.num_key_value_heads), HeadCache(config, kind, context, kernels::table().key_type));
    }
  }

  std::span<const int32_t> next_piece(std::span<const int32_t> ids) const {
    return ids.first(std::min(ids.size(), static_cast<size_t>(piece_tokens)));
  }
  Status check(std::span<const int32_t> ids) const;
  void run_piece(std::span<const int32_t> ids);
  void emit_logits(int64_t row, int64_t count, int64_t first, LogitsSink sink);

  const Model& model;
  const ModelConfig& config;
  int64_t context, piece_tokens;
  int64_t logit_rows;
  int64_t position = 0;
  int32_t previous = kNoToken;  ///< the token before position
  Workspace work;
  std::vector<std::vector<HeadCache>> caches;  ///< [layer][KV head]
  AlignedVector<float> logits;
};

Status Session::State::check(std::span<const int32_t> ids) const {
  const auto count = static_cast<int64_t>(ids.size());
  if (count > context - position) {
    const std::string holds = ", the context holds " + std::to_string(context);
    if (position == 0) return Error{"the prompt has " + std::to_string(count) + " tokens" + holds};
    return Error{std::to_string(count) + " tokens cannot follow the " + std::to_string(position) + " so far" +
                 holds};
  }
  const int64_t vocabulary = config.vocab_size;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < vocabulary) continue;
    return Error{"token " + std::to_string(i) + ": expected an id from 0 to " +
                 std::to_string(vocabulary - 1) + ", found " + std::to_string(ids[i])};
  }
  return {};
}

void Session::State::run_piece(std::span<const int32_t> ids) {
  const TokenRun piece = {position, static_cast<int64_t>(ids.size())};
  if (position + piece.tokens > work.rope.first + work.rope.count) {
    work.cover_positions(position, std::max(piece.tokens, kPositions));
  }
  work.cover_tokens(piece.tokens);
  embed(model, previous, ids, work);
  for (size_t layer = 0; layer < caches.size(); ++layer) {
    run_layer(model.layers()[layer], piece, caches[layer], work);
  }
  position += piece.tokens;
  previous = ids.back();
}

/// Logits of `count` rows of the piece just run, the first of them row `row` at position `first`.
void Session::State::emit_logits(int64_t row, int64_t count, int64_t first, LogitsSink sink) {
  const int64_t width = config.hidden_size;
  grow(logits, std::min(logit_rows, count) * config.vocab_size);
  for (int64_t done = 0; done < count; done += logit_rows) {
    const int64_t rows = std::min(logit_rows, count - done);
    rms_norm(work, work.hidden.data() + (row + done) * width, model.final_norm(), work.normed.data(), rows);
    matmul(work, model.head(), work.normed.data(), logits.data(), rows);
    sink(first + done, rows, logits.data());
  }
}

Session::Session(const Model& model, Executor& executor, int64_t context) {
  RF_CHECK(context >= 0 && model.config().attention_mode == AttentionMode::kCausal);
  if (context == 0) context = model.config().max_position_embeddings;
  state_ = std::make_unique<State>(model, executor, context);
}

Session::~Session() = default;
Session::Session(Session&&) noexcept = default;

Status Session::append(std::span<const int32_t> ids, LogitsFor wanted, LogitsSink sink) {
  State& s = *state_;
  RF_TRY_VOID(s.check(ids));
  while (!ids.empty()) {
    const std::span<const int32_t> piece = s.next_piece(ids);
    ids = ids.subspan(piece.size());
    const int64_t first = s.position;
    const auto tokens = static_cast<int64_t>(piece.size());
    s.run_piece(piece);
    switch (wanted) {
      case LogitsFor::kNone:
        continue;
      case LogitsFor::kAll:
        s.emit_logits(0, tokens, first, sink);
        continue;
      case LogitsFor::kLast:
        if (ids.empty()) s.emit_logits(tokens - 1, 1, s.position - 1, sink);
        continue;
    }
    RF_UNREACHABLE();
  }
  return {};
}

const Model& Session::model() const {
  return state_->model;
}
int64_t Session::position() const {
  return state_->position;
}
int64_t Session::context() const {
  return state_->context;
}

int64_t Session::cache_bytes() const {
  int64_t bytes = 0;
  for (const auto& layer : state_->caches) {
    for (const HeadCache& head : layer) bytes += head.bytes();
  }
  return bytes;
}

}  // namespace ringflash
