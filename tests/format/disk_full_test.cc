// A disk that is full while a model is saved or exported: an error that says so, and the old file untouched.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "format/export_gguf.h"
#include "format/gguf.h"
#include "format/tiny_checkpoint.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

/// No file of this process can grow beyond `bytes` while this lives: writes fail as they do on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    old_handler_ = std::signal(SIGXFSZ, SIG_IGN);
    RF_CHECK(::getrlimit(RLIMIT_FSIZE, &old_) == 0);
    const rlimit limit{bytes, old_.rlim_max};
    RF_CHECK(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_{};
  void (*old_handler_)(int) = nullptr;
};

class DiskFullTest : public ::testing::Test {
 protected:
  void SetUp() override { testing::write_checkpoint(checkpoint_, config_, weights_); }

  /// `save` fails at every size limit up to the file's own size, each time leaving the old file as it was and
  /// nothing beside it, and succeeds without the limit.
  template <typename Save>
  void expect_old_file_survives(const std::filesystem::path& file, Save save) {
    const std::string old = read_file(file).value();
    const auto files_before = count_files();
    for (const rlim_t limit :
         {rlim_t{0}, rlim_t{100}, rlim_t{4096}, rlim_t{50'000}, rlim_t{old.size() - 1}}) {
      Status status;
      {
        const FileSizeLimit full(limit);
        status = save();
      }
      ASSERT_FALSE(status) << "limit " << limit;
      EXPECT_NE(status.error().message.find(file.string()), std::string::npos) << status.error().message;
      EXPECT_TRUE(read_file(file).value() == old) << "limit " << limit;
      EXPECT_EQ(count_files(), files_before) << "limit " << limit;
    }
    EXPECT_TRUE(save());
  }
  std::ptrdiff_t count_files() const {
    return std::distance(std::filesystem::recursive_directory_iterator(directory_.path()), {});
  }

  testing::TemporaryDirectory directory_;
  std::filesystem::path checkpoint_ = directory_ / "checkpoint";
  ModelConfig config_ = testing::tiny_config();
  testing::Weights weights_ = testing::random_weights(config_);
};

TEST_F(DiskFullTest, SafetensorsSurvive) {
  const auto file = checkpoint_ / "model.safetensors";
  expect_old_file_survives(file, [&] { return testing::write_weights(file, config_, weights_); });
  EXPECT_TRUE(open_checkpoint(checkpoint_));
}

TEST_F(DiskFullTest, GgufSurvives) {
  const auto file = directory_ / "model.gguf";
  const Checkpoint checkpoint = open_checkpoint(checkpoint_).value();
  ASSERT_TRUE(export_gguf(checkpoint, file, ExportFormat::kBF16, {}));
  expect_old_file_survives(file, [&]() -> Status {
    RF_TRY_VOID(export_gguf(checkpoint, file, ExportFormat::kBF16, {}));
    return {};
  });
  EXPECT_TRUE(GgufFile::open(file));
}

}  // namespace
}  // namespace ringflash
