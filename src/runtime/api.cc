#include <string>
#include <utility>

#include "base/thread_pool.h"
#include "ringflash/ringflash.h"
#include "runtime/generate.h"

namespace ringflash::api {
namespace {

template <typename T>
T value_or_throw(Result<T> result) {
  if (!result) throw Error(result.error().message);
  return std::move(result).value();
}

int64_t checked_context(int64_t context) {
  if (context < 0) throw Error("context must be 0 (the model's) or more, not " + std::to_string(context));
  return context;
}

ringflash::GenerateOptions to_internal(const GenerateOptions& options) {
  ringflash::GenerateOptions internal;
  internal.max_tokens = options.max_tokens;
  internal.ignore_eos = options.ignore_eos;
  internal.sampling.temperature = options.temperature;
  internal.sampling.top_k = options.top_k;
  internal.sampling.top_p = options.top_p;
  internal.sampling.repetition_penalty = options.repetition_penalty;
  internal.sampling.seed = options.seed;
  return internal;
}

StopReason to_public(ringflash::StopReason reason) {
  switch (reason) {
    case ringflash::StopReason::kEndOfText:
      return StopReason::kEndOfText;
    case ringflash::StopReason::kMaxTokens:
      return StopReason::kMaxTokens;
    case ringflash::StopReason::kContextFull:
      return StopReason::kContextFull;
    case ringflash::StopReason::kCallback:
      return StopReason::kCallback;
  }
  RF_UNREACHABLE();
}

}  // namespace

struct Model::State {
  State(ringflash::Model loaded, int threads) : model(std::move(loaded)), pool(threads) {}
  const ringflash::Model model;
  ThreadPool pool;
};

struct Session::State {
  ringflash::Session session;
};

Model::Model(const std::filesystem::path& path, int threads) {
  if (threads < 0) throw Error("threads must be 0 (all) or more, not " + std::to_string(threads));
  state_ = std::make_unique<State>(value_or_throw(ringflash::Model::load(path)), threads);
}

Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

int64_t Model::vocab_size() const {
  return state_->model.config().vocab_size;
}
int64_t Model::context() const {
  return state_->model.config().max_position_embeddings;
}
int32_t Model::bos_id() const {
  return static_cast<int32_t>(state_->model.config().bos_token_id);
}
int32_t Model::eos_id() const {
  return static_cast<int32_t>(state_->model.config().eos_token_id);
}

std::vector<int32_t> Model::encode(std::string_view text) const {
  return state_->model.tokenizer().encode(text);
}

std::string Model::decode(std::span<const int32_t> ids) const {
  for (const int32_t id : ids) {
    if (id < 0 || id >= vocab_size()) {
      throw Error("id " + std::to_string(id) + " is outside the vocabulary of " +
                  std::to_string(vocab_size()));
    }
  }
  return state_->model.tokenizer().decode(ids);
}

Generation Model::generate(std::string_view prompt, const GenerateOptions& options,
                           const std::function<bool(std::string_view)>& on_text) {
  ringflash::Session session(state_->model, state_->pool, checked_context(options.context));
  Generation generation;
  const auto collect = [&](std::string_view piece) {
    generation.text += piece;
    return !on_text || on_text(piece);
  };
  const GenerateReport report = value_or_throw(generate_text(session, prompt, to_internal(options), collect));
  generation.prompt_tokens = report.prompt_tokens;
  generation.generated_tokens = report.generated_tokens;
  generation.prefill_seconds = report.prefill_seconds;
  generation.decode_seconds = report.decode_seconds;
  generation.stop = to_public(report.stop);
  return generation;
}

Session::Session(Model& model, int64_t context)
    : state_(std::make_unique<State>(
          State{ringflash::Session(model.state_->model, model.state_->pool, checked_context(context))})) {}

Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

std::vector<float> Session::append(std::span<const int32_t> ids) {
  if (ids.empty()) throw Error("there are no ids to append");
  std::vector<float> logits;
  const auto vocab_size = static_cast<size_t>(state_->session.model().config().vocab_size);
  const Status status = state_->session.append(
      ids, LogitsFor::kLast,
      [&](int64_t, int64_t, const float* row) { logits.assign(row, row + vocab_size); });
  if (!status) throw Error(status.error().message);
  return logits;
}

int64_t Session::position() const {
  return state_->session.position();
}

}  // namespace ringflash::api
