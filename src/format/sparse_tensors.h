// Which tensors of a GGUF file are S4 or S8: each is an I8 blob [row blocks, groups, bytes of a superblock], and four
// arrays in the metadata say how to read it.
#pragma once

#include <map>
#include <string>

#include "format/gguf.h"
#include "format/sparse_shape.h"
#include "model/tensors.h"

namespace ringflash {

/// Sparse tensors by name.
using SparseTensors = std::map<std::string, SparseFormat>;

/// Superblocks of N = 12 then start on cache lines.
inline constexpr uint32_t kSparseAlignment = 64;

/// "S4 12:64".
std::string to_string(const SparseFormat& format);

/// The blob's shape.
std::vector<int64_t> blob_shape(const SparseFormat& format);

/// Writes nothing if there are none.
void write_sparse_tensors(const SparseTensors& tensors, GgufWriter& writer);

/// The sparse ones of the inventory's linear tensors, each checked against its blob. The error names the tensor or the
/// key, what was expected and what was found.
Result<SparseTensors> read_sparse_tensors(const GgufFile& file, const std::vector<TensorSpec>& inventory);

}  // namespace ringflash
