#include <algorithm>
#include <type_traits>

#include "format/gguf.h"

namespace ringflash {
namespace {

template <typename T>
void append(std::string& out, T value) {
  static_assert(std::is_arithmetic_v<T>);
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

void append(std::string& out, const std::string& text) {
  append(out, uint64_t{text.size()});
  out += text;
}

void append(std::string& out, const GgufArray& array) {
  static constexpr uint32_t kElementTypes[] = {5, 4, 6, 7, 8};  // in the order of GgufArray's alternatives
  append(out, kElementTypes[array.index()]);
  std::visit(
      [&](const auto& values) {
        append(out, uint64_t{values.size()});
        for (const auto& value : values) append(out, value);
      },
      array);
}

}  // namespace

void GgufWriter::set(const std::string& key, GgufValue value) {
  metadata_[key] = std::move(value);
}

void GgufWriter::set_alignment(uint32_t alignment) {
  alignment_ = alignment;
  set("general.alignment", alignment);
}

void GgufWriter::add_tensor(std::string name, GgufType type, std::vector<int64_t> shape, Producer produce) {
  RF_CHECK(!name.empty() && name.size() <= kGgufMaxTensorName);
  RF_CHECK(!shape.empty() && shape.size() <= 4);
  RF_CHECK(static_cast<uint64_t>(shape.back()) % gguf_block_elements(type) == 0);
  uint64_t elements = 1;
  for (const int64_t size : shape) {
    RF_CHECK(size > 0 && !__builtin_mul_overflow(elements, static_cast<uint64_t>(size), &elements));
  }
  const uint64_t bytes = gguf_bytes(type, elements).value();
  entries_.push_back({std::move(name), type, std::move(shape), bytes, std::move(produce)});
}

std::string GgufWriter::header() const {
  std::string out;
  append(out, kGgufMagic);
  append(out, kGgufVersion);
  append(out, uint64_t{entries_.size()});
  append(out, uint64_t{metadata_.size()});
  for (const auto& [key, value] : metadata_) {
    append(out, key);
    append(out, static_cast<uint32_t>(value.index()));
    std::visit([&](const auto& v) { append(out, v); }, value);
  }
  uint64_t offset = 0;
  for (const Entry& entry : entries_) {
    append(out, entry.name);
    append(out, static_cast<uint32_t>(entry.shape.size()));
    for (auto size = entry.shape.rbegin(); size != entry.shape.rend(); ++size) append(out, *size);
    append(out, static_cast<uint32_t>(entry.type));
    append(out, offset);
    offset += align_up(entry.bytes);
  }
  return out + padding(out.size());
}

Status GgufWriter::write(const std::filesystem::path& path) const {
  RF_TRY(AtomicFile file, AtomicFile::create(path));
  RF_TRY_VOID(file.write(header()));
  for (const Entry& entry : entries_) {
    RF_TRY(const std::vector<std::byte> bytes, entry.produce());
    RF_CHECK(bytes.size() == entry.bytes);
    RF_TRY_VOID(file.write(bytes));
    RF_TRY_VOID(file.write(padding(bytes.size())));
  }
  return file.commit();
}

}  // namespace ringflash
