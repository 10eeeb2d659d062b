// `ringflash-onednn TYPE TOKENS IN OUT COPIES`: times oneDNN's matrix product for `ringflash bench linear`. It says which
// implementation oneDNN chose, then answers each line on stdin with the seconds of one product.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <vector>

#include "base/stopwatch.h"

namespace {

using dnnl::memory;

class Product {
 public:
  Product(const std::string& type, int64_t tokens, int64_t in, int64_t out, int64_t copies)
      : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    const bool int8 = type == "int8", bf16_out = type == "bf16_bf16";
    const auto bf16 = memory::data_type::bf16;
    const memory::desc x({tokens, in}, int8 ? memory::data_type::u8 : bf16, memory::format_tag::ab);
    const memory::desc w({in, out}, int8 ? memory::data_type::s8 : bf16, memory::format_tag::any);
    const memory::desc y({tokens, out}, int8 ? memory::data_type::s32 : bf16_out ? bf16 : memory::data_type::f32, memory::format_tag::ab);
    const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(x, w, y), engine_);
    implementation_ = description.impl_info_str();
    matmul_ = dnnl::matmul(description);
    x_ = filled(x, 0x3f);  // bf16 0x3f3f is 0.75
    y_ = filled(y, 0);
    for (int64_t i = 0; i < copies; ++i) weights_.push_back(filled(description.weights_desc(), 0x3c));
  }

  const std::string& implementation() const { return implementation_; }

  double run() {
    const ringflash::Stopwatch stopwatch;
    size_t products = 0;
    do {
      matmul_.execute(stream_, {{DNNL_ARG_SRC, x_}, {DNNL_ARG_WEIGHTS, weights_[products]}, {DNNL_ARG_DST, y_}});
      stream_.wait();
    } while (++products < weights_.size() && stopwatch.seconds() < 0.2);
    return stopwatch.seconds() / static_cast<double>(products);
  }

 private:
  memory filled(const memory::desc& description, int byte) {
    memory result(description, engine_);
    std::memset(result.get_data_handle(), byte, description.get_size());
    return result;
  }

  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::matmul matmul_;
  memory x_, y_;
  std::vector<memory> weights_;
  std::string implementation_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: ringflash-onednn int8|bf16|bf16_bf16 TOKENS IN OUT COPIES\n");
    return 2;
  }
  try {
    Product product(argv[1], std::atoll(argv[2]), std::atoll(argv[3]), std::atoll(argv[4]),
                    std::atoll(argv[5]));
    std::cout << product.implementation() << std::endl;
    for (std::string line; std::getline(std::cin, line);) std::cout << product.run() << std::endl;
  } catch (const dnnl::error& error) {
    std::cout << "error: " << error.what() << std::endl;
    return 1;
  }
}
