# Cross build with Debian's g++-aarch64-linux-gnu; tests run under qemu-user. Headers of header-only libraries come
# from the host's /usr/include through the CMake packages; compiled ones must be built or be absent.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)
