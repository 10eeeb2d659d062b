#include "train/ops/block_linear.h"

#include "kernels/block_sparse.h"
#include "train/ops/torch_executor.h"
#include "train/torch_headers.h"

namespace ringflash {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

float* slots(const Tensor& packed) { return static_cast<float*>(packed.data_ptr()); }

bool pairs() { return kernels::table().key_type == kernels::KeyType::kBf16; }

Tensor empty_packed(int64_t tiles, int64_t width) {
  const auto options = torch::TensorOptions(packed_type());
  if (!pairs()) return torch::empty({tiles, width, kernels::kTileTokens}, options);
  return torch::empty({tiles, width / 2, kernels::kTileTokens, 2}, options);
}

int64_t packed_width(const Tensor& packed) { return packed.size(1) * (pairs() ? 2 : 1); }

Tensor pack(const Tensor& x) {
  const Tensor rows = x.to(packed_type()).contiguous();
  Tensor packed = empty_packed(kernels::token_tiles(rows.size(0)), rows.size(1));
  TorchExecutor executor;
  kernels::pack_tokens(rows.data_ptr(), rows.size(0), rows.size(1), kernels::table(), executor, slots(packed));
  return packed;
}

Tensor unpack(const Tensor& packed, int64_t tokens) {
  const Tensor whole = packed.contiguous();
  Tensor rows = torch::empty({tokens, packed_width(whole)}, whole.options());
  TorchExecutor executor;
  kernels::unpack_tokens(slots(whole), tokens, packed_width(whole), kernels::table(), executor, rows.data_ptr());
  return rows;
}

class PackTokens : public torch::autograd::Function<PackTokens> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x) {
    context->saved_data["tokens"] = x.size(0);
    return pack(x);
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    return {unpack(grads[0], context->saved_data["tokens"].toInt())};
  }
};

/// dy^T x of packed tensors, fp32, all of it.
Tensor dense_gradient(const Tensor& x, const Tensor& dy) {
  const int64_t tokens = x.size(0) * kernels::kTileTokens;
  return torch::matmul(unpack(dy, tokens).t(), unpack(x, tokens)).to(torch::kFloat32);
}

/// How x and y of a product of `tokens` tokens come: as rows or packed.
struct Forms {
  int64_t tokens;
  bool x_rows, y_rows;
};

class BlockLinear : public torch::autograd::Function<BlockLinear> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight, const BlockTilesPtr& tiles,
                        bool dense, const Forms& forms) {
    const kernels::BlockPattern& pattern = tiles->pattern;
    const kernels::Table& table = kernels::table();
    TorchExecutor executor;
    const kernels::BlockWeightSizes sizes = kernels::block_weight_sizes(pattern, table);
    const Tensor forward_form = torch::empty({sizes.forward}, torch::kFloat32);
    const Tensor transposed = torch::empty({sizes.transposed}, torch::kFloat32);
    const kernels::BlockWeights weights{slots(forward_form), slots(transposed)};
    kernels::pack_block_weights(pattern, weight.contiguous().data_ptr<float>(), table, executor, weights);
    const Input given(x, forms.x_rows, forms.tokens, pattern.in());
    const Output y(forms.y_rows, forms.tokens, pattern.out());
    kernels::block_forward(pattern, weights, given.as_input(), forms.tokens, table, executor, y.as_output());
    context->save_for_backward({given.packed, transposed});
    context->saved_data["tiles"] = torch::IValue::make_capsule(tiles);
    context->saved_data["dense"] = dense;
    context->saved_data["tokens"] = forms.tokens;
    context->saved_data["x_rows"] = forms.x_rows;
    context->saved_data["y_rows"] = forms.y_rows;
    return y.tensor;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    auto& data = context->saved_data;
    const auto tiles = data["tiles"].toCapsule();
    const kernels::BlockPattern& pattern = static_cast<const BlockTiles&>(*tiles).pattern;
    const Forms forms{data["tokens"].toInt(), data["x_rows"].toBool(), data["y_rows"].toBool()};
    const kernels::Table& table = kernels::table();
    TorchExecutor executor;
    const variable_list saved = context->get_saved_variables();
    const Tensor &x = saved[0], &transposed = saved[1];
    const Input dy(grads[0], forms.y_rows, forms.tokens, pattern.out());
    Tensor dx, gradient;
    if (context->needs_input_grad(0)) {
      const Output out(forms.x_rows, forms.tokens, pattern.in());
      kernels::block_backward_input(pattern, {nullptr, slots(transposed)}, dy.as_input(), forms.tokens, table, executor,
                                    out.as_output());
      dx = out.tensor;
    } else if (forms.y_rows) {
      kernels::pack_tokens(dy.given.data_ptr(), forms.tokens, pattern.out(), table, executor, slots(dy.packed));
    }
    if (context->needs_input_grad(1)) {
      if (data["dense"].toBool()) {
        gradient = dense_gradient(x, dy.packed);
      } else {
        gradient = torch::empty({pattern.out(), pattern.in()}, torch::kFloat32);
        kernels::block_backward_weight(pattern, slots(x), slots(dy.packed), x.size(0), table, executor,
                                       gradient.data_ptr<float>());
      }
    }
    return {dx, gradient, Tensor(), Tensor(), Tensor()};
  }

 private:
  /// Rows, and room to pack them, or what is packed already.
  struct Input {
    Input(const Tensor& x, bool rows, int64_t tokens, int64_t width)
        : given(x.contiguous()), packed(rows ? empty_packed(kernels::token_tiles(tokens), width) : given), has_rows(rows) {}
    kernels::BlockInput as_input() const { return {slots(packed), has_rows ? given.data_ptr() : nullptr}; }
    Tensor given, packed;
    bool has_rows;
  };

  struct Output {
    Output(bool rows, int64_t tokens, int64_t width)
        : tensor(rows ? torch::empty({tokens, width}, torch::TensorOptions(packed_type()))
                      : empty_packed(kernels::token_tiles(tokens), width)),
          has_rows(rows) {}
    kernels::BlockOutput as_output() const {
      return has_rows ? kernels::BlockOutput{nullptr, tensor.data_ptr()} : kernels::BlockOutput{slots(tensor)};
    }
    Tensor tensor;
    bool has_rows;
  };
};

/// Checks what comes and multiplies.
Tensor multiply(const Tensor& x, const Tensor& weight, const BlockTilesPtr& tiles, TileGradient gradient, const Forms& forms) {
  const int64_t in = tiles->pattern.in(), out = tiles->pattern.out();
  const bool x_fits = x.device().is_cpu() && x.scalar_type() == packed_type() &&
                      (forms.x_rows ? x.size(1) : packed_width(x)) == in;
  const bool weight_fits = weight.scalar_type() == torch::kFloat32 && weight.size(0) == out && weight.size(1) == in;
  TORCH_CHECK(x_fits && weight_fits, "block_linear wants CPU tensors, x in ", packed_type(), ", the weight in fp32; the tiles are of ",
              out, " x ", in, ", the weight is ", weight.sizes(), " of ", weight.scalar_type(), ", x ",
              forms.x_rows ? "" : "packed ", x.sizes(), " of ", x.scalar_type());
  return BlockLinear::apply(x, weight, tiles, gradient == TileGradient::kDense, forms);
}

}  // namespace

BlockTilesPtr block_tiles(const Tensor& mask) {
  const int64_t out = mask.size(0), in = mask.size(1);
  if (out % 16 != 0 || in % 16 != 0) return {};
  const Tensor tiles = mask.to(torch::kCPU)
                           .reshape({out / kBlockRows, kBlockRows, in / kBlockColumns, kBlockColumns})
                           .any(3)
                           .any(1)
                           .to(torch::kUInt8)
                           .contiguous();
  const std::span<const uint8_t> active(tiles.data_ptr<uint8_t>(), static_cast<size_t>(tiles.numel()));
  return c10::make_intrusive<BlockTiles>(kernels::BlockPattern::make(active, out, in).value());
}

torch::ScalarType packed_type() { return pairs() ? torch::kBFloat16 : torch::kFloat32; }

Tensor pack_tokens(const Tensor& x) {
  TORCH_CHECK(x.device().is_cpu() && x.dim() == 2 && x.size(0) > 0 && x.size(1) % 16 == 0,
              "pack_tokens wants a CPU tensor [T, width], T > 0 and width a multiple of 16, found ", x.sizes());
  return PackTokens::apply(x);
}

Tensor block_linear_packed(const Tensor& x, const Tensor& weight, const BlockTilesPtr& tiles, TileGradient gradient) {
  return multiply(x, weight, tiles, gradient, {x.size(0) * kernels::kTileTokens, /*x_rows=*/false, /*y_rows=*/false});
}

Tensor block_linear_unpacked(const Tensor& x, int64_t tokens, const Tensor& weight, const BlockTilesPtr& tiles,
                             TileGradient gradient) {
  TORCH_CHECK(kernels::token_tiles(tokens) == x.size(0), tokens, " tokens do not fill ", x.size(0), " tiles");
  return multiply(x, weight, tiles, gradient, {tokens, /*x_rows=*/false, /*y_rows=*/true});
}

Tensor block_linear(const Tensor& x, const Tensor& weight, const BlockTilesPtr& tiles, TileGradient gradient) {
  TORCH_CHECK(x.dim() == 2 && x.size(0) > 0, "block_linear wants [T, in], T > 0, found ", x.sizes());
  return multiply(x.to(packed_type()), weight, tiles, gradient, {x.size(0), /*x_rows=*/true, /*y_rows=*/true}).to(x.scalar_type());
}

}  // namespace ringflash
