// Sparse tensors in a GGUF file: blobs of superblocks, of type I8, told apart from others by metadata that
// any GGUF tool can list (docs/format.md).
#pragma once

#include <map>
#include <span>
#include <string>

#include "format/gguf.h"
#include "format/quantize_sparse.h"
#include "model/tensors.h"

namespace ringflash {

/// The sparse tensors of a file by name.
using SparseTensors = std::map<std::string, SparseFormat, std::less<>>;

/// Sets the metadata; the tensors themselves are added by whoever has their weights, with shape [bytes].
void write_sparse_tensors(const SparseTensors& tensors, GgufWriter& writer);

/// What the metadata say, checked: each is a linear tensor of the inventory, of type I8 and of as many bytes
/// as its format takes. Empty for a file without sparse tensors. Errors name the file.
Result<SparseTensors> read_sparse_tensors(const GgufFile& file, std::span<const TensorSpec> inventory);

}  // namespace ringflash
