#include "format/sparse_gguf.h"

#include <algorithm>
#include <vector>

#include "base/in_quotes.h"
#include "format/block_s4.h"

namespace ringflash {
namespace {

constexpr const char* kNames = "ringflash.sparse.names";
constexpr const char* kFormats = "ringflash.sparse.formats";
constexpr const char* kNonzeros = "ringflash.sparse.nonzeros";
constexpr const char* kBases = "ringflash.sparse.base_exponents";

std::string to_string(SparseBits bits) {
  switch (bits) {
    case SparseBits::k4:
      return "s4";
    case SparseBits::k8:
      return "s8";
  }
  RF_UNREACHABLE();
}

Result<SparseBits> parse_sparse_bits(const std::string& text) {
  for (const SparseBits bits : {SparseBits::k4, SparseBits::k8}) {
    if (text == to_string(bits)) return bits;
  }
  return Error{"expected s4 or s8, found " + in_quotes(text)};
}

template <typename T>
Result<std::vector<T>> read_array(const GgufFile& file, const char* key, const char* elements) {
  RF_TRY(GgufArray array, file.array(key));
  if (auto* values = std::get_if<std::vector<T>>(&array)) return std::move(*values);
  return Error{file.path().string() + ": '" + key + "' must be an array of " + elements};
}

/// The four arrays as they lie in the file.
struct Listed {
  std::vector<std::string> names, formats;
  std::vector<int32_t> nonzeros, bases;
};

Result<Listed> read_lists(const GgufFile& file) {
  Listed listed;
  RF_TRY(listed.names, read_array<std::string>(file, kNames, "strings"));
  RF_TRY(listed.formats, read_array<std::string>(file, kFormats, "strings"));
  RF_TRY(listed.nonzeros, read_array<int32_t>(file, kNonzeros, "i32"));
  RF_TRY(listed.bases, read_array<int32_t>(file, kBases, "i32"));
  const size_t count = listed.names.size();
  if (listed.formats.size() == count && listed.nonzeros.size() == count && listed.bases.size() == count)
    return listed;
  return Error{file.path().string() +
               ": expected as many sparse formats, nonzeros and base exponents as names (" +
               std::to_string(count) + ")"};
}

Result<SparseFormat> parse_format(const Listed& listed, size_t i, std::span<const TensorSpec> inventory) {
  const auto spec = std::find_if(inventory.begin(), inventory.end(),
                                 [&](const TensorSpec& tensor) { return tensor.name == listed.names[i]; });
  if (spec == inventory.end() || spec->role != TensorRole::kLinear)
    return Error{"expected a linear tensor's name"};
  if (spec->shape[1] % kSparseInputs != 0) {
    return Error{"expected rows of a multiple of 64 weights, found " + std::to_string(spec->shape[1])};
  }
  RF_TRY(const SparseBits bits, parse_sparse_bits(listed.formats[i]));
  if (!is_index_form(listed.nonzeros[i])) {
    return Error{"expected 4, 8, 12 or 16 nonzeros of 64, found " + std::to_string(listed.nonzeros[i])};
  }
  const int32_t base = listed.bases[i];
  const bool fits = bits == SparseBits::k8 ? base == 0 : base >= kMinS4Base && base <= kMaxS4Base;
  if (!fits) return Error{"the base exponent " + std::to_string(base) + " is out of range"};
  return SparseFormat{
      .bits = bits, .shape = {spec->shape[0], spec->shape[1], listed.nonzeros[i]}, .base = base};
}

Status check_blob(const GgufFile& file, const std::string& name, const SparseFormat& format) {
  const GgufTensor* tensor = file.find(name);
  if (tensor == nullptr) return Error{"is missing"};
  if (tensor->type != GgufType::kI8) return Error{"expected type I8, found " + to_string(tensor->type)};
  const auto bytes = static_cast<uint64_t>(format.bytes());
  if (tensor->data.size() == bytes) return {};
  return Error{"expected " + std::to_string(bytes) + " bytes, found " + std::to_string(tensor->data.size())};
}

}  // namespace

void write_sparse_tensors(const SparseTensors& tensors, GgufWriter& writer) {
  if (tensors.empty()) return;
  Listed listed;
  for (const auto& [name, format] : tensors) {
    listed.names.push_back(name);
    listed.formats.push_back(to_string(format.bits));
    listed.nonzeros.push_back(format.shape.nonzeros);
    listed.bases.push_back(format.base);
  }
  writer.set(kNames, GgufArray(std::move(listed.names)));
  writer.set(kFormats, GgufArray(std::move(listed.formats)));
  writer.set(kNonzeros, GgufArray(std::move(listed.nonzeros)));
  writer.set(kBases, GgufArray(std::move(listed.bases)));
}

Result<SparseTensors> read_sparse_tensors(const GgufFile& file, std::span<const TensorSpec> inventory) {
  SparseTensors tensors;
  if (!file.metadata().contains(kNames)) return tensors;
  RF_TRY(const Listed listed, read_lists(file));
  for (size_t i = 0; i < listed.names.size(); ++i) {
    const std::string place = file.path().string() + ": sparse tensor " + in_quotes(listed.names[i]);
    const Result<SparseFormat> format = parse_format(listed, i, inventory);
    if (!format) return format.error().in(place);
    if (const Status blob = check_blob(file, listed.names[i], *format); !blob) return blob.error().in(place);
    if (!tensors.emplace(listed.names[i], *format).second) return Error{"is listed twice"}.in(place);
  }
  return tensors;
}

}  // namespace ringflash
