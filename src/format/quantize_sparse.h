// The only packer and unpacker of S4 and S8.
//
// A pure function of the weights, and the same in training (fake_quantize) as in export: what quantize() stores,
// dequantize() reads as the very floats that fake_quantize() returned. Weights that are zero are pruned, and so are
// those below 2^-126, which a processor may be set to take for zero.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "format/sparse_shape.h"

namespace ringflash {

/// S4 holds weights up to 2^100, S8 up to 127 * 65504; what is beyond, or not finite, is refused.
float largest_sparse_weight(SparseBits bits);

/// The base exponent for a tensor whose largest magnitude is `largest`: the greatest scale is then a quarter of that or
/// more (but for the 3 % that its mantissa lacks), and the least is 2^-17 of it.
int s4_base_exponent(float largest);

/// Packs rows of `weights` [rows, columns] into `out`, the bytes of all superblocks. Each group's scale is the one of
/// least squared error: for S4 among all codes from 0.087 to 0.3 of the group's largest magnitude (below, that weight's
/// clipping alone costs more; above, half of the values go unused), for S8 among eight fp16 numbers around 1/127 of it.
/// An error names the row and the group that has too many weights, or one that does not fit.
Status quantize(const SparseFormat& format, const float* weights, RowBlocks rows, std::byte* out);

/// The same, with the decoded weights [rows, columns] as the result: dequantize() of quantize().
Status fake_quantize(const SparseFormat& format, const float* weights, RowBlocks rows, float* out);

/// The scales that quantize() chooses, [rows, groups].
Status choose_scales(const SparseFormat& format, const float* weights, RowBlocks rows, float* scales);

/// Reads `blocks`, the bytes of all superblocks, into rows of `out` [rows, columns]. Any bytes are read without
/// harm; entries that name the same input add up.
void dequantize(const SparseFormat& format, const std::byte* blocks, RowBlocks rows, float* out);

}  // namespace ringflash
