// The readable references: plain loops, sums in double. They are the tests' oracle and the "scalar" table.
#pragma once

#include "kernels/kernels.h"

namespace ringflash::kernels::ref {

void attend(const QueryBlock& queries, std::span<const KeySpan> spans, const AttentionOutput& output);
void attend_backward(const QueryBlock& queries, std::span<const KeySpan> spans, const AttentionGradInput& input,
                     const QueryGrad& query_grad, std::span<const KeySpanGrad> grads);

void matmul_f32(const float* x, const float* w, float* y, int64_t tokens, int64_t in, int64_t y_stride,
                int64_t out_begin, int64_t out_end);
void matmul_bf16(const float* x, const bf16* w, float* y, int64_t tokens, int64_t in, int64_t y_stride,
                 int64_t out_begin, int64_t out_end);
void round_to_int8(const float* x, int64_t tokens, int64_t in, int64_t begin, int64_t end, uint8_t* values,
                   float* scales);
void matmul_q8_0(const Int8Tokens& x, const BlockQ8_0* w, float* y, int64_t y_stride, int64_t out_begin,
                 int64_t out_end);
void matmul_q4_0(const Int8Tokens& x, const BlockQ4_0* w, float* y, int64_t y_stride, int64_t out_begin,
                 int64_t out_end);
void matmul_q4_1(const Int8Tokens& x, const BlockQ4_1* w, float* y, int64_t y_stride, int64_t out_begin,
                 int64_t out_end);
void matmul_q5_0(const Int8Tokens& x, const BlockQ5_0* w, float* y, int64_t y_stride, int64_t out_begin,
                 int64_t out_end);
void matmul_sparse(const Int8Tokens& x, const SparseFormat& format, const std::byte* blocks, float* y,
                   int64_t y_stride, RowBlocks rows);
void rms_norm(const float* x, const float* gain, float* y, int64_t rows, int64_t width, float eps);
void swiglu(const float* gate, const float* up, float* y, int64_t count);
void geglu(const float* gate, const float* up, float* y, int64_t count);
void rope(const float* x, float* y, const float* cosine, const float* sine, int64_t half, float sign);
void add(const float* x, float* y, int64_t count);
void add_scaled(float factor, const float* x, float* y, int64_t count);
void rms_norm_backward(const float* x, const float* gain, const float* dy, float* dx, float* dgain, int64_t rows,
                       int64_t width, float eps);
void swiglu_bf16(const bf16* gate, const bf16* up, bf16* y, int64_t count);
void swiglu_backward_bf16(const bf16* gate, const bf16* up, const bf16* dy, bf16* dgate, bf16* dup, int64_t count);
void cross_entropy_bf16(bf16* logits, const int64_t* targets, float* loss, int64_t rows, int64_t vocab);
void distillation_bf16(bf16* logits, const bf16* opinion, const int64_t* targets, float weight, float* loss,
                       int64_t rows, int64_t vocab);
void adamw(float* w, const float* gradient, float* m, float* v, const uint8_t* mask, int64_t count,
           const AdamWStep& step);
void adamw8(float* w, const float* gradient, const Moments8& moments, const uint8_t* mask, int64_t count,
            const AdamWStep& step);

extern const Table kTable;

}  // namespace ringflash::kernels::ref
