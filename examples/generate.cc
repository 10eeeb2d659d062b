// Continues a prompt with a model, printing the text as it comes: generate MODEL PROMPT
#include <ringflash/ringflash.h>

#include <iostream>

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::cerr << "usage: generate MODEL PROMPT\n";
    return 2;
  }
  ringflash::api::Model model(argv[1]);
  ringflash::api::GenerateOptions options;
  options.max_tokens = 64;
  options.temperature = 0.7;
  const auto generation = model.generate(argv[2], options, [](std::string_view piece) {
    return static_cast<bool>(std::cout << piece << std::flush);
  });
  std::cout << "\n";
  std::cerr << generation.generated_tokens << " tokens in " << generation.decode_seconds << " s\n";
} catch (const ringflash::api::Error& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
