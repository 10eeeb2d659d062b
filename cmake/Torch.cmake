# libtorch: Debian's libtorch-dev, or any newer one given with CMAKE_PREFIX_PATH (pip's: the output of
# python3 -c "import torch; print(torch.utils.cmake_prefix_path)").
find_package(Torch REQUIRED)
find_package(OpenMP REQUIRED)  # at::parallel_for is a header; without OpenMP it runs in one thread
add_library(ringflash_torch INTERFACE)
target_include_directories(ringflash_torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
# The imported target, not TORCH_LIBRARIES: that list is searched for, and finds Debian's libc10 before another's.
target_link_libraries(ringflash_torch INTERFACE torch OpenMP::OpenMP_CXX)
separate_arguments(torch_cxx_flags NATIVE_COMMAND "${TORCH_CXX_FLAGS}")  # the C++ ABI libtorch was built with
target_compile_options(ringflash_torch INTERFACE ${torch_cxx_flags})
message(STATUS "libtorch ${Torch_VERSION} in ${TORCH_INSTALL_PREFIX}")
