# Debian's packages; see scripts/install-deps.sh for their names.
find_package(nlohmann_json 3.9 REQUIRED)
find_package(CLI11 REQUIRED)
# The archives, so that the runtime goes on needing no library. A cross build does without: its tokenizers are the
# sentencepiece ones.
if(NOT CMAKE_CROSSCOMPILING)
  find_path(PCRE2_INCLUDE_DIR pcre2.h REQUIRED)
  find_library(PCRE2_LIBRARY NAMES libpcre2-8.a REQUIRED)
  find_path(UTF8PROC_INCLUDE_DIR utf8proc.h REQUIRED)
  find_library(UTF8PROC_LIBRARY NAMES libutf8proc.a REQUIRED)
endif()
if(RINGFLASH_TESTS AND CMAKE_CROSSCOMPILING)
  # The compiled library is the host's: build Debian's copy of the source (package googletest) for the target.
  set(INSTALL_GTEST OFF CACHE BOOL "" FORCE)
  add_subdirectory(/usr/src/googletest/googletest ${CMAKE_BINARY_DIR}/googletest EXCLUDE_FROM_ALL SYSTEM)
  target_compile_options(gtest PRIVATE -w)  # g++ 12 warns wrongly inside std::string at -O3
elseif(RINGFLASH_TESTS)
  find_package(GTest REQUIRED)
endif()
if(RINGFLASH_BENCH AND NOT CMAKE_CROSSCOMPILING)
  find_package(dnnl QUIET)
endif()
if(RINGFLASH_TRAIN)
  include(Torch)
  find_package(PkgConfig REQUIRED)
  pkg_check_modules(sentencepiece REQUIRED IMPORTED_TARGET sentencepiece)
endif()
