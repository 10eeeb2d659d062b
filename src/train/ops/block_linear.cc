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

class UnpackTokens : public torch::autograd::Function<UnpackTokens> {
 public:
  static Tensor forward(AutogradContext*, const Tensor& packed, int64_t tokens) { return unpack(packed, tokens); }
  static variable_list backward(AutogradContext*, const variable_list& grads) { return {pack(grads[0]), Tensor()}; }
};

/// dy^T x of packed tensors, fp32, all of it.
Tensor dense_gradient(const Tensor& x, const Tensor& dy) {
  const int64_t tokens = x.size(0) * kernels::kTileTokens;
  return torch::matmul(unpack(dy, tokens).t(), unpack(x, tokens)).to(torch::kFloat32);
}

class BlockLinear : public torch::autograd::Function<BlockLinear> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight, const BlockTilesPtr& tiles,
                        bool dense) {
    const kernels::BlockPattern& pattern = tiles->pattern;
    const kernels::Table& table = kernels::table();
    TorchExecutor executor;
    const Tensor given = x.contiguous();
    const kernels::BlockWeightSizes sizes = kernels::block_weight_sizes(pattern, table);
    const Tensor forward_form = torch::empty({sizes.forward}, torch::kFloat32);
    const Tensor transposed = torch::empty({sizes.transposed}, torch::kFloat32);
    const kernels::BlockWeights weights{slots(forward_form), slots(transposed)};
    kernels::pack_block_weights(pattern, weight.contiguous().data_ptr<float>(), table, executor, weights);
    Tensor y = empty_packed(x.size(0), pattern.out());
    kernels::block_forward(pattern, weights, slots(given), x.size(0), table, executor, slots(y));
    context->save_for_backward({given, transposed});
    context->saved_data["tiles"] = torch::IValue::make_capsule(tiles);
    context->saved_data["dense"] = dense;
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto tiles = context->saved_data["tiles"].toCapsule();
    const kernels::BlockPattern& pattern = static_cast<const BlockTiles&>(*tiles).pattern;
    const kernels::Table& table = kernels::table();
    TorchExecutor executor;
    const variable_list saved = context->get_saved_variables();
    const Tensor &x = saved[0], &transposed = saved[1], dy = grads[0].contiguous();
    Tensor dx, gradient;
    if (context->needs_input_grad(0)) {
      dx = torch::empty_like(x);
      kernels::block_backward_input(pattern, {nullptr, slots(transposed)}, slots(dy), x.size(0), table, executor,
                                    slots(dx));
    }
    if (context->needs_input_grad(1)) {
      if (context->saved_data["dense"].toBool()) {
        gradient = dense_gradient(x, dy);
      } else {
        gradient = torch::zeros({pattern.out(), pattern.in()}, torch::kFloat32);
        kernels::block_backward_weight(pattern, slots(x), slots(dy), x.size(0), table, executor,
                                       gradient.data_ptr<float>());
      }
    }
    return {dx, gradient, Tensor(), Tensor()};
  }
};

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

Tensor unpack_tokens(const Tensor& packed, int64_t tokens) {
  TORCH_CHECK(kernels::token_tiles(tokens) == packed.size(0), tokens, " tokens do not fill ", packed.size(0),
              " tiles");
  return UnpackTokens::apply(packed, tokens);
}

Tensor block_linear_packed(const Tensor& x, const Tensor& weight, const BlockTilesPtr& tiles, TileGradient gradient) {
  TORCH_CHECK(x.scalar_type() == packed_type() && packed_width(x) == tiles->pattern.in() &&
                  weight.scalar_type() == torch::kFloat32 && weight.size(0) == tiles->pattern.out() &&
                  weight.size(1) == tiles->pattern.in(),
              "block_linear: the tiles are of ", tiles->pattern.out(), " x ", tiles->pattern.in(), ", the weight is ",
              weight.sizes(), ", x packed ", x.sizes());
  return BlockLinear::apply(x, weight, tiles, gradient == TileGradient::kDense);
}

Tensor block_linear(const Tensor& x, const Tensor& weight, const BlockTilesPtr& tiles, TileGradient gradient) {
  const Tensor y = block_linear_packed(pack_tokens(x), weight, tiles, gradient);
  return unpack_tokens(y, x.size(0)).to(x.scalar_type());
}

}  // namespace ringflash
