#include "format/sparse_tensors.h"

#include <algorithm>

#include "base/in_quotes.h"
#include "format/block_s4.h"

namespace ringflash {
namespace {

constexpr const char* kNames = "ringflash.sparse.tensors";
constexpr const char* kFormats = "ringflash.sparse.formats";
constexpr const char* kNonzeros = "ringflash.sparse.nonzeros";
constexpr const char* kBases = "ringflash.sparse.base_exponents";

std::string name_of(SparseBits bits) {
  switch (bits) {
    case SparseBits::k4:
      return "s4";
    case SparseBits::k8:
      return "s8";
  }
  RF_UNREACHABLE();
}

template <typename T>
Result<std::vector<T>> read_array(const GgufFile& file, const char* key, const char* elements) {
  RF_TRY(GgufArray array, file.array(key));
  if (auto* values = std::get_if<std::vector<T>>(&array)) return std::move(*values);
  return Error{std::string("'") + key + "' must be an array of " + elements};
}

/// The arrays as they are in the file.
struct Columns {
  std::vector<std::string> names, formats;
  std::vector<int32_t> nonzeros, bases;
};

Result<Columns> read_columns(const GgufFile& file) {
  Columns columns;
  RF_TRY(columns.names, read_array<std::string>(file, kNames, "strings"));
  RF_TRY(columns.formats, read_array<std::string>(file, kFormats, "strings"));
  RF_TRY(columns.nonzeros, read_array<int32_t>(file, kNonzeros, "i32"));
  RF_TRY(columns.bases, read_array<int32_t>(file, kBases, "i32"));
  const size_t count = columns.names.size();
  for (const auto& [key, size] : {std::pair{kFormats, columns.formats.size()},
                                  {kNonzeros, columns.nonzeros.size()},
                                  {kBases, columns.bases.size()}}) {
    if (size == count) continue;
    return Error{std::string("'") + key + "' must have as many entries as '" + kNames + "' (" +
                 std::to_string(count) + "), found " + std::to_string(size)};
  }
  return columns;
}

Result<SparseFormat> read_format(const Columns& columns, size_t i, const TensorSpec& spec) {
  SparseFormat format{SparseBits::k4, {spec.shape[0], spec.shape[1], columns.nonzeros[i]}, columns.bases[i]};
  if (columns.formats[i] == name_of(SparseBits::k8)) {
    format.bits = SparseBits::k8;
  } else if (columns.formats[i] != name_of(SparseBits::k4)) {
    return Error{"expected format 's4' or 's8', found " + in_quotes(columns.formats[i])};
  }
  if (!is_stored_nonzeros(columns.nonzeros[i])) {
    return Error{"expected 4, 8, 12 or 16 to 64 weights of 64, found " + std::to_string(columns.nonzeros[i])};
  }
  if (format.base < kMinS4Base || format.base > kMaxS4Base) {
    return Error{"expected a base exponent between " + std::to_string(kMinS4Base) + " and " +
                 std::to_string(kMaxS4Base) + ", found " + std::to_string(format.base)};
  }
  if (format.shape.columns % kSparseInputs != 0) {
    return Error{"expected a dense tensor, its " + std::to_string(format.shape.columns) +
                 " columns being no multiple of " + std::to_string(kSparseInputs)};
  }
  return format;
}

Status check_blob(const GgufFile& file, const std::string& name, const SparseFormat& format) {
  const GgufTensor* tensor = file.find(name);
  if (tensor == nullptr) return Error{"the file has no such tensor"};
  if (tensor->type != GgufType::kI8) return Error{"expected type I8, found " + to_string(tensor->type)};
  if (tensor->shape == blob_shape(format)) return {};
  return Error{"expected a blob of " + std::to_string(format.shape.row_blocks()) + " x " +
               std::to_string(format.shape.groups()) + " superblocks of " + std::to_string(format.superblock_bytes()) +
               " bytes, found another shape"};
}

}  // namespace

std::string to_string(const SparseFormat& format) {
  std::string name = name_of(format.bits);
  name[0] = 'S';
  return name + " " + std::to_string(format.shape.nonzeros) + ":" + std::to_string(kSparseInputs);
}

std::vector<int64_t> blob_shape(const SparseFormat& format) {
  return {format.shape.row_blocks(), format.shape.groups(), format.superblock_bytes()};
}

void write_sparse_tensors(const SparseTensors& tensors, GgufWriter& writer) {
  if (tensors.empty()) return;
  Columns columns;
  for (const auto& [name, format] : tensors) {
    columns.names.push_back(name);
    columns.formats.push_back(name_of(format.bits));
    columns.nonzeros.push_back(format.shape.nonzeros);
    columns.bases.push_back(format.base);
  }
  writer.set(kNames, GgufArray(std::move(columns.names)));
  writer.set(kFormats, GgufArray(std::move(columns.formats)));
  writer.set(kNonzeros, GgufArray(std::move(columns.nonzeros)));
  writer.set(kBases, GgufArray(std::move(columns.bases)));
  writer.set_alignment(kSparseAlignment);
}

Result<SparseTensors> read_sparse_tensors(const GgufFile& file, const std::vector<TensorSpec>& inventory) {
  SparseTensors tensors;
  if (!file.metadata().contains(kNames)) return tensors;
  RF_TRY(const Columns columns, read_columns(file));
  for (size_t i = 0; i < columns.names.size(); ++i) {
    const std::string& name = columns.names[i];
    const auto spec = std::find_if(inventory.begin(), inventory.end(), [&](const TensorSpec& each) {
      return each.name == name && each.role == TensorRole::kLinear;
    });
    if (spec == inventory.end()) {
      return Error{std::string("'") + kNames + "' must name linear tensors of the model, found " + in_quotes(name)};
    }
    const auto read = [&]() -> Status {
      RF_TRY(const SparseFormat format, read_format(columns, i, *spec));
      RF_TRY_VOID(check_blob(file, name, format));
      if (!tensors.emplace(name, format).second) return Error{std::string("expected once in '") + kNames + "'"};
      return {};
    };
    if (const Status status = read(); !status) return status.error().in("sparse tensor " + in_quotes(name));
  }
  return tensors;
}

}  // namespace ringflash
