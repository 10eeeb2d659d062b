#include "train/ops/weight_view.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/ceil_div.h"
#include "base/check.h"
#include "format/kept_weights.h"
#include "format/quantize_sparse.h"
#include "train/ops/row_blocks.h"
#include "train/torch_headers.h"

namespace ringflash {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// A weight on the CPU as its view shows it, made a row of superblocks at a time: one pass over memory.
class ViewOnCpu {
 public:
  ViewOnCpu(const Tensor& weight, const WeightView& view)
      : weight_(weight.contiguous()), mask_(view.mask.contiguous()), quantised_(view.bits < 16), columns_(weight.size(1)) {
    if (!quantised_) return;
    format_ = {.bits = view.bits == 4 ? SparseBits::k4 : SparseBits::k8,
               .shape = {kSparseRows, columns_, static_cast<int>(view.nonzeros)}};
    if (format_.bits == SparseBits::k4) format_.base = s4_base_exponent(largest());
  }

  /// store(first element's index, values, count) for all of it.
  template <typename Store>
  void for_parts(Store store) const {
    const int64_t rows = weight_.size(0);
    at::parallel_for(0, ceil_div(rows, kSparseRows), 1, [&](int64_t begin, int64_t end) {
      std::vector<float> kept(kSparseRows * columns_), decoded(quantised_ ? kept.size() : 0);
      for (int64_t row = begin * kSparseRows; row < std::min(end * kSparseRows, rows); row += kSparseRows) {
        SparseFormat part = format_;
        part.shape.rows = std::min(kSparseRows, rows - row);
        const int64_t first = row * columns_, count = part.shape.rows * columns_;
        copy_kept(weight_.data_ptr<float>() + first, mask_.data_ptr<bool>() + first, count, kept.data());
        // Weights that exploded are no numbers to round: the loss said so.
        if (quantised_) RF_CHECK(fake_quantize(part, kept.data(), {0, 1}, decoded.data()).ok());
        store(first, quantised_ ? decoded.data() : kept.data(), count);
      }
    });
  }

 private:
  float largest() const {
    std::vector<float> of_block(ceil_div(weight_.size(0), kSparseRows));
    for_blocks(weight_.size(0), kSparseRows, [&](int64_t block, int64_t begin, int64_t end) {
      const int64_t first = begin * columns_;
      of_block[block] = largest_kept(weight_.data_ptr<float>() + first, mask_.data_ptr<bool>() + first,
                                     (end - begin) * columns_);
    });
    return *std::ranges::max_element(of_block);
  }

  Tensor weight_, mask_;
  bool quantised_;
  int64_t columns_;
  SparseFormat format_{};
};

Tensor seen_on_cpu(const Tensor& weight, const WeightView& view, torch::ScalarType compute) {
  Tensor seen = torch::empty(weight.sizes(), weight.options().dtype(compute));
  ViewOnCpu(weight, view).for_parts([&](int64_t first, const float* values, int64_t count) {
    if (compute == torch::kBFloat16) return round_to_bf16(values, count, bf16_data(seen) + first);
    std::memcpy(seen.data_ptr<float>() + first, values, count * sizeof(float));
  });
  return seen;
}

class SeenWeight : public torch::autograd::Function<SeenWeight> {
 public:
  static Tensor forward(AutogradContext*, const Tensor& weight, const WeightView& view, int64_t compute) {
    const auto type = static_cast<torch::ScalarType>(compute);
    if (weight.device().is_cpu() && (type == torch::kBFloat16 || type == torch::kFloat32)) {
      return seen_on_cpu(weight, view, type);
    }
    Tensor seen = torch::where(view.mask, weight, 0.0);
    if (view.bits < 16) seen = quantized_weight(seen, view.bits, view.nonzeros);
    return seen.to(type);
  }

  static variable_list backward(AutogradContext*, const variable_list& grads) {
    return {grads[0].to(torch::kFloat32), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor quantized_weight(const Tensor& weights, int64_t bits, int64_t nonzeros) {
  const Tensor masked = weights.detach().to(torch::kCPU);
  const WeightView all{.mask = torch::ones_like(masked, torch::kBool), .bits = bits, .nonzeros = nonzeros};
  return seen_on_cpu(masked, all, torch::kFloat32).to(weights.device());
}

Tensor seen_weight(const Tensor& weight, const WeightView& view, torch::ScalarType compute) {
  if (!view.mask.defined()) return weight.to(compute);
  return SeenWeight::apply(weight, view, static_cast<int64_t>(compute));
}

}  // namespace ringflash
