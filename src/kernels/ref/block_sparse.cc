#include "kernels/ref/block_sparse.h"

#include <algorithm>
#include <vector>

namespace ringflash::kernels::ref {
namespace {

/// Slot rows hold one feature each here: the 32 tokens of feature `feature` of tile `tile`.
template <typename T>
T* feature_row(T* packed, int64_t features, int64_t tile, int64_t feature) {
  return packed + (tile * features + feature) * kTileTokens;
}

/// Where the numbers of an entry are: the two of out `o` of its tile.
int64_t forward_place(int64_t entry, int64_t o) {
  const int64_t chunk = entry / BlockIndex::kChunk, within = entry % BlockIndex::kChunk;
  return ((chunk * kBlockOuts + o) * BlockIndex::kChunk + within) * kBlockIns;
}

void pack_tokens(const float* rows, int64_t tokens, int64_t slots, int64_t stride, float* tile) {
  for (int64_t slot = 0; slot < slots; ++slot) {
    for (int64_t t = 0; t < kTileTokens; ++t) {
      tile[slot * kTileTokens + t] = t < tokens ? rows[t * stride + slot] : 0.0f;
    }
  }
}

void unpack_tokens(const float* tile, int64_t tokens, int64_t slots, int64_t stride, float* rows) {
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t slot = 0; slot < slots; ++slot) rows[t * stride + slot] = tile[slot * kTileTokens + t];
  }
}

/// `transposed` is the forward form again.
void pack_weights(const BlockIndex& index, const float* weight, int64_t row_pair, void* forward, void* transposed) {
  const int64_t in = index.columns * kBlockIns;
  for (int64_t row = 2 * row_pair; row < std::min(index.rows, 2 * row_pair + 2); ++row) {
    const int64_t first = index.row_begin[row];
    for (int64_t entry = first; entry < index.row_begin[row + 1]; ++entry) {
      const bool meant = entry < first + index.row_count[row];
      for (int64_t o = 0; o < kBlockOuts; ++o) {
        const float* tile = weight + (row * kBlockOuts + o) * in + index.entry_column[entry] * kBlockIns;
        for (int64_t i = 0; i < kBlockIns; ++i) {
          const float number = meant ? tile[i] : 0.0f;
          static_cast<float*>(forward)[forward_place(entry, o) + i] = number;
          static_cast<float*>(transposed)[forward_place(entry, o) + i] = number;
        }
      }
    }
  }
}

int64_t transposed_numbers(const BlockIndex& index) {
  return static_cast<int64_t>(index.row_begin[index.rows]) * kBlockOuts * kBlockIns;
}

void forward(const BlockIndex& index, const void* weights, const float* x, float* y, int64_t tiles, const Soon&) {
  const float* w = static_cast<const float*>(weights);
  for (int64_t tile = 0; tile < tiles; ++tile) {
    for (int64_t out = 0; out < index.rows * kBlockOuts; ++out) {
      const int64_t row = out / kBlockOuts, begin = index.row_begin[row];
      double sums[kTileTokens] = {};
      for (int64_t entry = begin; entry < begin + index.row_count[row]; ++entry) {
        for (int64_t i = 0; i < kBlockIns; ++i) {
          const double factor = w[forward_place(entry, out % kBlockOuts) + i];
          const float* tokens =
              feature_row(x, index.columns * kBlockIns, tile, index.entry_column[entry] * kBlockIns + i);
          for (int64_t t = 0; t < kTileTokens; ++t) sums[t] += factor * tokens[t];
        }
      }
      std::copy_n(sums, kTileTokens, feature_row(y, index.rows * kBlockOuts, tile, out));
    }
  }
}

void backward_input(const BlockIndex& index, const void* transposed, const float* dy, float* dx, const Soon&) {
  const float* w = static_cast<const float*>(transposed);
  std::vector<double> sums(static_cast<size_t>(index.columns * kBlockIns * kTileTokens));
  for (int64_t out = 0; out < index.rows * kBlockOuts; ++out) {
    const int64_t row = out / kBlockOuts, begin = index.row_begin[row];
    for (int64_t entry = begin; entry < begin + index.row_count[row]; ++entry) {
      for (int64_t i = 0; i < kBlockIns; ++i) {
        const double factor = w[forward_place(entry, out % kBlockOuts) + i];
        double* target = &sums[static_cast<size_t>((index.entry_column[entry] * kBlockIns + i) * kTileTokens)];
        for (int64_t t = 0; t < kTileTokens; ++t) target[t] += factor * dy[out * kTileTokens + t];
      }
    }
  }
  std::copy(sums.begin(), sums.end(), dx);
}

void backward_weight(const BlockIndex& index, const float* x, const float* dy, int64_t tiles, int64_t row, bool add,
                     float* values, const Soon&) {
  const int64_t begin = index.row_begin[row];
  for (int64_t entry = begin; entry < begin + index.row_count[row]; ++entry) {
    for (int64_t i = 0; i < kBlockIns; ++i) {
      for (int64_t o = 0; o < kBlockOuts; ++o) {
        float& value = values[(entry * kBlockIns + i) * kBlockOuts + o];
        double sum = add ? value : 0.0f;
        for (int64_t tile = 0; tile < tiles; ++tile) {
          const float* in_tokens =
              feature_row(x, index.columns * kBlockIns, tile, index.entry_column[entry] * kBlockIns + i);
          const float* out_tokens = feature_row(dy, index.rows * kBlockOuts, tile, row * kBlockOuts + o);
          for (int64_t t = 0; t < kTileTokens; ++t) sum += double{in_tokens[t]} * out_tokens[t];
        }
        value = static_cast<float>(sum);
      }
    }
  }
}

}  // namespace

const BlockKernels kBlockKernels = {.pack_tokens = pack_tokens,
                                    .unpack_tokens = unpack_tokens,
                                    .pack_weights = pack_weights,
                                    .transposed_numbers = transposed_numbers,
                                    .forward = forward,
                                    .backward_input = backward_input,
                                    .gather_columns = nullptr,
                                    .backward_weight = backward_weight};

}  // namespace ringflash::kernels::ref
