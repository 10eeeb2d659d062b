# Language level, warnings, sanitizers, ccache and where binaries go.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

add_library(ringflash_flags INTERFACE)
target_compile_options(ringflash_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # g++ 12 warns falsely of overlapping copies where strings are concatenated (GCC bug 105651).
  target_compile_options(ringflash_flags INTERFACE -Wno-restrict)
endif()
# Asserts of broken invariants are RF_CHECK, which stays in every build.
if(RINGFLASH_SANITIZE)
  # g++ 12 warns of _mm512_undefined_*() inside its own intrinsics when it instruments them.
  target_compile_options(ringflash_flags INTERFACE -fsanitize=${RINGFLASH_SANITIZE} -fno-omit-frame-pointer
                                                   -fno-sanitize-recover=all -Wno-maybe-uninitialized)
  target_link_options(ringflash_flags INTERFACE -fsanitize=${RINGFLASH_SANITIZE})
endif()
find_package(Threads REQUIRED)
target_link_libraries(ringflash_flags INTERFACE Threads::Threads)

find_program(RINGFLASH_CCACHE ccache)
if(RINGFLASH_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Precompiled headers are cached only when their time stamps do not count; paths are taken relative to the
  # project, so that another clone finds what this one compiled.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${RINGFLASH_CCACHE})
endif()
