#include "train/ops/ring_attention.h"

#include "kernels/ring_attention.h"
#include "train/ops/torch_executor.h"
#include "train/torch_headers.h"

namespace ringflash {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// c10::optional or std::optional, whichever this libtorch uses.
using OptionalTensor = std::decay_t<decltype(std::declval<const c10::IValue&>().toOptional<Tensor>())>;

/// Autograd functions do not take undefined tensors: an empty one stands for "no router" there.
const float* data_or_null(const Tensor& t) { return t.numel() > 0 ? t.data_ptr<float>() : nullptr; }

Tensor as_float(const Tensor& t) { return t.to(torch::kFloat32).contiguous(); }

kernels::AttentionShape shape_of(const Tensor& q, const Tensor& k, const AttentionOptions& options) {
  return {.tokens = k.size(0),
          .heads = q.size(1),
          .key_value_heads = k.size(1),
          .head_dim = q.size(2),
          .rope = options.rope,
          .kind = options.kind,
          .mode = options.mode,
          .ring = options.ring,
          .sliding_window = options.sliding_window,
          .first_query = options.first_query};
}

/// A scaling as the list of its numbers, which autograd's context can hold, and back.
std::vector<double> to_list(const RopeScaling& s) {
  return {static_cast<double>(s.type), s.factor, static_cast<double>(s.original_positions), s.low_freq_factor,
          s.high_freq_factor, s.beta_fast, s.beta_slow, s.attention_factor};
}
RopeScaling scaling_from(const std::vector<double>& list) {
  return {.type = static_cast<RopeScalingType>(list[0]),
          .factor = list[1],
          .original_positions = static_cast<int64_t>(list[2]),
          .low_freq_factor = list[3],
          .high_freq_factor = list[4],
          .beta_fast = list[5],
          .beta_slow = list[6],
          .attention_factor = list[7]};
}

void check_inputs(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& router,
                  const std::vector<int64_t>& bounds, const AttentionOptions& options) {
  TORCH_CHECK(q.dim() == 3 && k.dim() == 3, "ring_attention: q and k must be [tokens, heads, head_dim], found ",
              q.sizes(), " and ", k.sizes());
  TORCH_CHECK(v.sizes() == k.sizes(), "ring_attention: v must have k's shape ", k.sizes(), ", found ", v.sizes());
  TORCH_CHECK(q.size(0) == k.size(0) - options.first_query && q.size(2) == k.size(2) && q.size(2) % 2 == 0 && k.size(1) > 0 &&
                  q.size(1) % k.size(1) == 0,
              "ring_attention: q ", q.sizes(), " and k ", k.sizes(), " do not fit together");
  const bool routed = options.kind == AttentionKind::kRing && options.ring.page_tokens() > 0;
  TORCH_CHECK(router.defined() == routed, "ring_attention: a router is needed by ring layers with a global_ratio, ",
              "and by no others");
  if (routed) {
    TORCH_CHECK(router.dim() == 2 && router.size(0) == k.size(0) && router.size(1) == k.size(1),
                "ring_attention: router must be [tokens, key_value_heads], found ", router.sizes());
  }
  TORCH_CHECK(bounds.size() >= 2 && bounds.front() == 0 && bounds.back() == k.size(0),
              "ring_attention: bounds must run from 0 to ", k.size(0));
  for (size_t i = 1; i < bounds.size(); ++i) {
    TORCH_CHECK(bounds[i] > bounds[i - 1], "ring_attention: bounds must ascend, found ", bounds[i - 1], ", ",
                bounds[i]);
  }
  TORCH_CHECK(options.ring.stride > 0 && options.ring.window > 0 && options.ring.window % options.ring.stride == 0,
              "ring_attention: window must be a multiple of stride, found ", options.ring.window, " and ",
              options.ring.stride);
  TORCH_CHECK(options.ring.global_ratio >= 0 && options.ring.global_ratio <= 1,
              "ring_attention: global_ratio must be in [0, 1], found ", options.ring.global_ratio);
  TORCH_CHECK(std::isfinite(options.rope.theta) && options.rope.theta >= 1,
              "ring_attention: rope_theta must be at least 1, found ", options.rope.theta);
  TORCH_CHECK(options.kind != AttentionKind::kSliding ||
                  (options.sliding_window > 0 && options.mode == AttentionMode::kCausal),
              "ring_attention: sliding_window must be above 0 and the layer causal, found ", options.sliding_window);
  TORCH_CHECK(k.device() == q.device() && v.device() == q.device() &&
                  (!router.defined() || router.device() == q.device()),
              "ring_attention: all tensors must be on one device");
  TORCH_CHECK(options.ring.top_pages_factor > 0 && options.ring.top_pages_run > 0,
              "ring_attention: top_pages_factor and top_pages_run must be at least 1, found ",
              options.ring.top_pages_factor, " and ", options.ring.top_pages_run);
  TORCH_CHECK(options.ring.sink_tokens >= 0 && options.ring.sink_tokens <= options.ring.stride,
              "ring_attention: sink_tokens must be between 0 and stride, found ", options.ring.sink_tokens);
}

AttentionOptions options_from(AutogradContext* context) {
  const auto& saved = context->saved_data;
  AttentionOptions options;
  options.kind = static_cast<AttentionKind>(saved.at("kind").toInt());
  options.mode = saved.at("bidirectional").toBool() ? AttentionMode::kBidirectional : AttentionMode::kCausal;
  options.rope = {.theta = saved.at("rope_theta").toDouble(),
                  .scaling = scaling_from(saved.at("rope_scaling").toDoubleVector())};
  options.sliding_window = saved.at("sliding_window").toInt();
  options.first_query = saved.at("first_query").toInt();
  options.ring = {.window = saved.at("window").toInt(),
                  .stride = saved.at("stride").toInt(),
                  .global_ratio = saved.at("global_ratio").toDouble(),
                  .sink_tokens = saved.at("sink_tokens").toInt(),
                  .global_rope = saved.at("global_rope").toBool(),
                  .select = saved.at("top_pages").toBool() ? GlobalSelect::kTopPages : GlobalSelect::kAll,
                  .top_pages_factor = saved.at("top_pages_factor").toInt(),
                  .top_pages_run = saved.at("top_pages_run").toInt()};
  return options;
}

void save_options(AutogradContext* context, const AttentionOptions& options) {
  auto& saved = context->saved_data;
  saved["kind"] = static_cast<int64_t>(options.kind);
  saved["bidirectional"] = options.mode == AttentionMode::kBidirectional;
  saved["rope_theta"] = options.rope.theta;
  saved["rope_scaling"] = to_list(options.rope.scaling);
  saved["sliding_window"] = options.sliding_window;
  saved["first_query"] = options.first_query;
  saved["window"] = options.ring.window;
  saved["stride"] = options.ring.stride;
  saved["global_ratio"] = options.ring.global_ratio;
  saved["sink_tokens"] = options.ring.sink_tokens;
  saved["global_rope"] = options.ring.global_rope;
  saved["top_pages"] = options.ring.select == GlobalSelect::kTopPages;
  saved["top_pages_factor"] = options.ring.top_pages_factor;
  saved["top_pages_run"] = options.ring.top_pages_run;
}

AttentionResult attend(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& router,
                       const std::vector<int64_t>& bounds, const AttentionOptions& options) {
  const Tensor qf = as_float(q), kf = as_float(k), vf = as_float(v), rf = as_float(router);
  Tensor out = torch::empty_like(qf);
  Tensor lse = torch::empty({q.size(0), q.size(1)}, qf.options());
  TorchExecutor executor;
  kernels::attention_forward(shape_of(qf, kf, options), qf.data_ptr<float>(), kf.data_ptr<float>(),
                             vf.data_ptr<float>(), data_or_null(rf), bounds, out.data_ptr<float>(),
                             lse.data_ptr<float>(), kernels::table(), executor);
  return {out.to(q.scalar_type()), lse};
}

class RingAttention : public torch::autograd::Function<RingAttention> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& q, const Tensor& k, const Tensor& v,
                        const Tensor& router, const std::vector<int64_t>& bounds,
                        const AttentionOptions& options, AttentionResult* kept) {
    const bool again = kept != nullptr && kept->out.defined();
    const AttentionResult result = again ? *kept : attend(q, k, v, router, bounds, options);
    if (kept != nullptr) *kept = result;
    const Tensor out = result.out.detach();  // what is returned becomes part of a graph
    // The inputs are saved in their own precision: for bf16 that is half the memory.
    context->save_for_backward({q, k, v, router, out, result.lse});
    context->saved_data["bounds"] = bounds;
    save_options(context, options);
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    const Tensor q = as_float(saved[0]), k = as_float(saved[1]), v = as_float(saved[2]);
    const Tensor router = as_float(saved[3]), out = as_float(saved[4]), lse = saved[5];
    const Tensor dout = as_float(grads[0]);
    const std::vector<int64_t> bounds = context->saved_data["bounds"].toIntVector();
    Tensor dq = torch::empty_like(q), dk = torch::empty_like(k), dv = torch::empty_like(v);
    Tensor drouter = torch::empty_like(router);
    TorchExecutor executor;
    kernels::attention_backward(shape_of(q, k, options_from(context)), q.data_ptr<float>(), k.data_ptr<float>(),
                                v.data_ptr<float>(), data_or_null(router), bounds, out.data_ptr<float>(),
                                lse.data_ptr<float>(), dout.data_ptr<float>(), dq.data_ptr<float>(),
                                dk.data_ptr<float>(), dv.data_ptr<float>(),
                                router.numel() > 0 ? drouter.data_ptr<float>() : nullptr, kernels::table(), executor);
    return {dq.to(saved[0].scalar_type()), dk.to(saved[1].scalar_type()), dv.to(saved[2].scalar_type()),
            drouter, Tensor(), Tensor(), Tensor()};
  }
};

/// The operator's schema spells the options out, so that Python can call it without our types.
Tensor ring_attention_op(const Tensor& q, const Tensor& k, const Tensor& v, const OptionalTensor& router,
                         std::vector<int64_t> bounds, bool ring, int64_t window, int64_t stride,
                         double global_ratio, int64_t sink_tokens, bool global_rope, double rope_theta,
                         bool top_pages, int64_t top_pages_factor, int64_t top_pages_run, bool bidirectional) {
  AttentionOptions options;
  options.kind = ring ? AttentionKind::kRing : AttentionKind::kFull;
  options.ring = {.window = window,
                  .stride = stride,
                  .global_ratio = global_ratio,
                  .sink_tokens = sink_tokens,
                  .global_rope = global_rope,
                  .select = top_pages ? GlobalSelect::kTopPages : GlobalSelect::kAll,
                  .top_pages_factor = top_pages_factor,
                  .top_pages_run = top_pages_run};
  options.mode = bidirectional ? AttentionMode::kBidirectional : AttentionMode::kCausal;
  options.rope.theta = rope_theta;
  return ring_attention(q, k, v, router.has_value() ? *router : Tensor(), bounds, options);
}

TORCH_LIBRARY(ringflash, library) {
  library.def(
      "ring_attention(Tensor q, Tensor k, Tensor v, Tensor? router, int[] bounds, bool ring=True, "
      "int window=512, int stride=256, float global_ratio=0.05, int sink_tokens=4, bool global_rope=False, "
      "float rope_theta=10000.0, bool top_pages=False, int top_pages_factor=2, int top_pages_run=32, "
      "bool bidirectional=False) -> Tensor",
      ring_attention_op);
}

}  // namespace

Tensor ring_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& router,
                      const std::vector<int64_t>& bounds, const AttentionOptions& options, AttentionResult* kept) {
  check_inputs(q, k, v, router, bounds, options);
  TORCH_CHECK(options.first_query == 0 || q.device().is_cpu(), "ring_attention: first_query needs the CPU's kernels");
  if (!q.device().is_cpu()) return ring_attention_composed(q, k, v, router, bounds, options);
  return RingAttention::apply(q, k, v, router.defined() ? router : torch::empty({0}), bounds, options, kept);
}

}  // namespace ringflash
