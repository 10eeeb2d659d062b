#include "train/moments8.h"

#include "base/ceil_div.h"
#include "train/torch_headers.h"

namespace ringflash {
namespace {

using torch::Tensor;

Tensor map_tensor(const kernels::DynamicMap& map, torch::Device device) {
  return torch::tensor(torch::ArrayRef<float>(map.values, std::size(map.values)), torch::kFloat32).to(device);
}

}  // namespace

int64_t moment_blocks(int64_t numbers) {
  return ceil_div(numbers, kernels::kMomentBlock);
}

Tensor decode_moment(const Tensor& codes, const Tensor& scales, const kernels::DynamicMap& map) {
  const Tensor values = map_tensor(map, codes.device()).index_select(0, codes.flatten().to(torch::kInt64));
  return (values * scales.repeat_interleave(kernels::kMomentBlock).slice(0, 0, codes.numel())).view(codes.sizes());
}

void encode_moment(const Tensor& x, const kernels::DynamicMap& map, Tensor& codes, Tensor& scales) {
  const int64_t blocks = moment_blocks(x.numel());
  const Tensor padded = torch::constant_pad_nd(x.flatten(), {0, blocks * kernels::kMomentBlock - x.numel()});
  const Tensor rows = padded.view({blocks, kernels::kMomentBlock});
  scales.copy_(rows.abs().amax(1));
  scales.masked_fill_(scales.lt(kernels::kLeastMomentScale), 0);
  const Tensor inverse = torch::where(scales.gt(0), scales.reciprocal(), torch::zeros_like(scales));
  const Tensor values = map_tensor(map, x.device());
  const Tensor halfway = (values.slice(0, 1) + values.slice(0, 0, -1)) / 2;
  Tensor found = torch::bucketize(rows * inverse.unsqueeze(1), halfway);
  if (map.values[0] == 0) found = torch::where(rows.gt(0), found.clamp_min(1), found);
  codes.copy_(found.flatten().slice(0, 0, x.numel()).view(codes.sizes()));
}

}  // namespace ringflash
