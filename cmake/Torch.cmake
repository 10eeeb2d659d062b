# libtorch: Debian's libtorch-dev, or any newer one given with CMAKE_PREFIX_PATH (pip's: the output of
# python3 -c "import torch; print(torch.utils.cmake_prefix_path)").
find_package(Torch REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)  # at::parallel_for is a header; without OpenMP it runs in one thread
add_library(ringflash_torch INTERFACE)
target_include_directories(ringflash_torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
# The imported target, not TORCH_LIBRARIES: that list is searched for, and finds Debian's libc10 before another's.
target_link_libraries(ringflash_torch INTERFACE torch OpenMP::OpenMP_CXX)
separate_arguments(torch_cxx_flags NATIVE_COMMAND "${TORCH_CXX_FLAGS}")  # the C++ ABI libtorch was built with
target_compile_options(ringflash_torch INTERFACE ${torch_cxx_flags})
message(STATUS "libtorch ${Torch_VERSION} in ${TORCH_INSTALL_PREFIX}")

# Several processes: c10d over gloo, whose headers libtorch's own need but do not bring (Debian's libgloo-dev), and over
# NCCL where libtorch has it; pip's has NCCL's header in a package beside it.
include(CheckCXXSourceCompiles)
# Compiled alone: pip's libtorch names a target in its link interface that a check's project does not know.
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_REQUIRED_INCLUDES ${TORCH_INCLUDE_DIRS})
set(CMAKE_REQUIRED_FLAGS "-std=c++20 ${TORCH_CXX_FLAGS}")
set(CMAKE_REQUIRED_DEFINITIONS -DUSE_C10D_GLOO)
check_cxx_source_compiles("
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
int main() { return c10d::ProcessGroupGloo::createDefaultDevice() ? 0 : 1; }" RINGFLASH_GLOO)
set(torch_cuda_has "")
if(TARGET torch_cuda)
  get_target_property(torch_cuda_has torch_cuda INTERFACE_COMPILE_DEFINITIONS)
endif()
if(RINGFLASH_GLOO AND "USE_C10D_NCCL" IN_LIST torch_cuda_has)
  file(GLOB cuda_packages ${TORCH_INSTALL_PREFIX}/../nvidia/*/include)
  find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${cuda_packages} DOC "Folder of NCCL's header")
  if(NCCL_INCLUDE_DIR)
    set(RINGFLASH_NCCL_INCLUDES ${NCCL_INCLUDE_DIR} ${CUDAToolkit_INCLUDE_DIRS} ${cuda_packages})
    set(CMAKE_REQUIRED_INCLUDES ${TORCH_INCLUDE_DIRS} ${RINGFLASH_NCCL_INCLUDES})
    set(CMAKE_REQUIRED_DEFINITIONS -DUSE_C10D_NCCL)
    check_cxx_source_compiles("
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
int main() { return sizeof(c10d::ProcessGroupNCCL) > 0 ? 0 : 1; }" RINGFLASH_NCCL)
  endif()
endif()
unset(CMAKE_TRY_COMPILE_TARGET_TYPE)
unset(CMAKE_REQUIRED_INCLUDES)
unset(CMAKE_REQUIRED_FLAGS)
unset(CMAKE_REQUIRED_DEFINITIONS)
