#include "format/safetensors.h"

#include <algorithm>
#include <cstring>

#include "base/float16.h"
#include "base/in_quotes.h"
#include "format/byte_cursor.h"
#include "format/json_text.h"

namespace ringflash {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr DType kDTypes[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kI64,
                             DType::kI32, DType::kI8,  DType::kU8};

std::string show_shape(std::span<const int64_t> shape) {
  return show(json(std::vector(shape.begin(), shape.end())));
}

Result<DType> parse_dtype(const json& value) {
  std::string names;
  for (const DType dtype : kDTypes) {
    if (value == to_string(dtype)) return dtype;
    names += (names.empty() ? "" : ", ") + to_string(dtype);
  }
  return Error{"'dtype' must be one of " + names + ", found " + show(value)};
}

/// An array of numbers that are neither negative nor above 2^63 - 1.
Result<std::vector<int64_t>> parse_sizes(const json& value, const char* key) {
  std::vector<int64_t> sizes;
  bool good = value.is_array();
  for (size_t i = 0; good && i < value.size(); ++i) {
    good = value[i].is_number_unsigned() && std::in_range<int64_t>(value[i].get<uint64_t>());
    if (good) sizes.push_back(value[i].get<int64_t>());
  }
  if (good) return sizes;
  return Error{std::string("'") + key + "' must be an array of integers from 0, found " + show(value)};
}

/// Bytes of a tensor; a shape with a 0 has none.
Result<int64_t> shape_bytes(const std::vector<int64_t>& shape, DType dtype) {
  int64_t bytes = dtype_bytes(dtype);
  for (const int64_t size : shape) {
    if (__builtin_mul_overflow(bytes, size, &bytes)) {
      return Error{"'shape' must give less than 2^63 bytes, found " + show_shape(shape)};
    }
  }
  return bytes;
}

/// One tensor of the header; `data` is all that follows the header.
Result<TensorView> parse_tensor(const std::string& name, const json& entry, std::span<const std::byte> data) {
  if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") || !entry.contains("shape") ||
      !entry.contains("data_offsets")) {
    return Error{"expected an object of 'dtype', 'shape' and 'data_offsets', found " + show(entry)};
  }
  TensorView tensor;
  tensor.name = name;
  RF_TRY(tensor.dtype, parse_dtype(entry["dtype"]));
  RF_TRY(tensor.shape, parse_sizes(entry["shape"], "shape"));
  RF_TRY(const auto offsets, parse_sizes(entry["data_offsets"], "data_offsets"));
  const auto size = static_cast<int64_t>(data.size());
  if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > size) {
    return Error{"'data_offsets' must be a begin and an end within the " + std::to_string(size) +
                 " bytes of data, found " + show(entry["data_offsets"])};
  }
  RF_TRY(const int64_t bytes, shape_bytes(tensor.shape, tensor.dtype));
  if (offsets[1] - offsets[0] != bytes) {
    return Error{"'data_offsets' must be " + std::to_string(bytes) + " bytes apart for " +
                 to_string(tensor.dtype) + " " + show_shape(tensor.shape) + ", found " +
                 show(entry["data_offsets"])};
  }
  tensor.data = data.subspan(offsets[0], bytes);
  return tensor;
}

Result<std::map<std::string, std::string>> parse_metadata(const json& value) {
  std::map<std::string, std::string> metadata;
  if (!value.is_object()) return Error{"'__metadata__' must be an object of strings, found " + show(value)};
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) {
      return Error{"'__metadata__' must hold strings, found " + show(text) + " for " + in_quotes(key)};
    }
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

/// The format wants every byte of the data to belong to exactly one tensor. Sorts the tensors by their place.
Status check_no_gaps(std::vector<TensorView>& tensors, std::span<const std::byte> data) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorView& a, const TensorView& b) {
    return std::pair(a.data.data(), a.data.size()) < std::pair(b.data.data(), b.data.size());
  });
  const std::byte* end = data.data();
  for (const TensorView& tensor : tensors) {
    if (tensor.data.data() != end) {
      return Error{"tensor " + in_quotes(tensor.name) + ": expected data from offset " +
                   std::to_string(end - data.data()) + ", where the tensor before it ends, found offset " +
                   std::to_string(tensor.data.data() - data.data())};
    }
    end += tensor.data.size();
  }
  if (end == data.data() + data.size()) return {};
  return Error{"expected " + std::to_string(end - data.data()) +
               " bytes of data, as the header says, found " + std::to_string(data.size())};
}

struct Contents {
  std::map<std::string, std::string> metadata;
  std::vector<TensorView> tensors;
};

Result<Contents> parse_file(std::span<const std::byte> bytes) {
  ByteCursor cursor(bytes);
  RF_TRY(const auto header_bytes, cursor.number<uint64_t>("the header's length"));
  if (header_bytes > kMaxHeaderBytes) {
    return cursor.wrong("a header of at most 100 MB", std::to_string(header_bytes) + " bytes");
  }
  RF_TRY(const auto header, cursor.take(header_bytes, "the header"));
  RF_TRY(const json root, parse_json({reinterpret_cast<const char*>(header.data()), header.size()}));
  if (!root.is_object()) return Error{"expected a header that is a JSON object, found " + show(root)};

  Contents contents;
  const auto data = bytes.subspan(cursor.offset());
  for (const auto& [name, entry] : root.items()) {
    if (name == "__metadata__") {
      RF_TRY(contents.metadata, parse_metadata(entry));
      continue;
    }
    Result<TensorView> tensor = parse_tensor(name, entry, data);
    if (!tensor) return tensor.error().in("tensor " + in_quotes(name));
    contents.tensors.push_back(std::move(tensor).value());
  }
  RF_TRY_VOID(check_no_gaps(contents.tensors, data));
  return contents;
}

bool is_float(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

template <typename T>
T element(const TensorView& tensor, size_t index) {
  T value;
  std::memcpy(&value, tensor.data.data() + index * sizeof(T), sizeof(T));  // data need not be aligned
  return value;
}

}  // namespace

std::string to_string(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kF16:
      return "F16";
    case DType::kBF16:
      return "BF16";
    case DType::kI64:
      return "I64";
    case DType::kI32:
      return "I32";
    case DType::kI8:
      return "I8";
    case DType::kU8:
      return "U8";
  }
  RF_UNREACHABLE();
}

int64_t dtype_bytes(DType dtype) {
  switch (dtype) {
    case DType::kI64:
      return 8;
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kF16:
    case DType::kBF16:
      return 2;
    case DType::kI8:
    case DType::kU8:
      return 1;
  }
  RF_UNREACHABLE();
}

int64_t TensorView::elements() const {
  return static_cast<int64_t>(data.size()) / dtype_bytes(dtype);
}

Result<SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
  RF_TRY(MappedFile mapped, MappedFile::open(path));
  SafetensorsFile file(std::move(mapped));
  Result<Contents> contents = parse_file(file.file_.bytes());
  if (!contents) return contents.error().in(path.string());
  file.path_ = path;
  file.metadata_ = std::move(contents->metadata);
  file.tensors_ = std::move(contents->tensors);
  for (size_t i = 0; i < file.tensors_.size(); ++i) file.index_[file.tensors_[i].name] = i;
  return file;
}

const TensorView* SafetensorsFile::find(std::string_view name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

Result<TensorView> SafetensorsFile::require(std::string_view name, std::span<const int64_t> shape) const {
  const std::string expected =
      path_.string() + ": tensor " + in_quotes(name) + ": expected shape " + show_shape(shape) + ", found ";
  const TensorView* tensor = find(name);
  if (tensor == nullptr) return Error{expected + "no such tensor"};
  if (!std::ranges::equal(tensor->shape, shape)) return Error{expected + show_shape(tensor->shape)};
  return *tensor;
}

Result<TensorView> SafetensorsFile::require_floats(std::string_view name,
                                                   std::span<const int64_t> shape) const {
  RF_TRY(TensorView tensor, require(name, shape));
  if (is_float(tensor.dtype)) return tensor;
  return Error{path_.string() + ": tensor " + in_quotes(name) + ": expected F32, F16 or BF16, found " +
               to_string(tensor.dtype)};
}

std::vector<float> to_floats(const TensorView& tensor) {
  std::vector<float> floats(tensor.elements());
  const auto fill = [&](const auto& convert) {
    for (size_t i = 0; i < floats.size(); ++i) floats[i] = convert(i);
  };
  switch (tensor.dtype) {
    case DType::kF32:
      fill([&](size_t i) { return element<float>(tensor, i); });
      return floats;
    case DType::kF16:
      fill([&](size_t i) { return to_float(element<fp16>(tensor, i)); });
      return floats;
    case DType::kBF16:
      fill([&](size_t i) { return to_float(element<bf16>(tensor, i)); });
      return floats;
    case DType::kI64:
    case DType::kI32:
    case DType::kI8:
    case DType::kU8:
      break;
  }
  RF_UNREACHABLE();
}

namespace {

/// Everything before the data: the header's length and the header. Tensor is a TensorView or a TensorProducer.
template <typename Tensor>
std::string header_of(std::span<const Tensor> tensors, const std::map<std::string, std::string>& metadata) {
  json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  int64_t offset = 0;
  for (const Tensor& tensor : tensors) {
    RF_CHECK(!header.contains(tensor.name));
    const int64_t bytes = shape_bytes(tensor.shape, tensor.dtype).value();
    header[tensor.name] = {{"dtype", to_string(tensor.dtype)},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = header.dump(-1, ' ', false, json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data start on a multiple of 8
  const uint64_t header_bytes = text.size();
  return std::string(reinterpret_cast<const char*>(&header_bytes), sizeof header_bytes) + text;
}

}  // namespace

Status write_safetensors(const std::filesystem::path& path, std::span<const TensorProducer> tensors,
                         const std::map<std::string, std::string>& metadata) {
  RF_TRY(AtomicFile file, AtomicFile::create(path));
  RF_TRY_VOID(file.write(header_of(tensors, metadata)));
  for (const TensorProducer& tensor : tensors) {
    RF_TRY(const std::vector<std::byte> bytes, tensor.produce());
    RF_CHECK(std::cmp_equal(shape_bytes(tensor.shape, tensor.dtype).value(), bytes.size()));
    RF_TRY_VOID(file.write(bytes));
  }
  return file.commit();
}

Status write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                         const std::map<std::string, std::string>& metadata) {
  for (const TensorView& tensor : tensors) {
    RF_CHECK(std::cmp_equal(shape_bytes(tensor.shape, tensor.dtype).value(), tensor.data.size()));
  }
  RF_TRY(AtomicFile file, AtomicFile::create(path));
  RF_TRY_VOID(file.write(header_of(tensors, metadata)));
  for (const TensorView& tensor : tensors) RF_TRY_VOID(file.write(tensor.data));
  return file.commit();
}

}  // namespace ringflash
