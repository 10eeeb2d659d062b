// For plain loops outside src/kernels that are worth wider vectors than the least of x86-64.
#pragma once

#include <cstdint>  // and __GLIBC__

/// Before a function's definition: compiles it for AVX2 and AVX-512 too, and the loader picks. No product and sum in it may
/// be contracted (-ffp-contract=off), so that all copies give the same bits. Sanitizers run before the loader's choice can.
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define RF_WIDER_COPIES [[gnu::target_clones("default", "avx2", "arch=x86-64-v4")]]
#else
#define RF_WIDER_COPIES
#endif
