// Mean squared error: L = Σ (x − y)² / n, and its gradient dx = 2 (x − y) dL / n.
//
// x, y, dx: n numbers; L and dL: one. Sums of blocks are added in their order by one block
// more. dL stays on the device: nothing waits for it.
#include "device.cuh"

namespace {

constexpr int N = Pack<float>::N;

// Packs that a thread adds up.
constexpr int PACKS = 4;

} // namespace

// Σ (x − y)² of the block's part.
KERNEL mse_partial_f32(const float *x, const float *y, float *partial, size_t count) {
  __shared__ float warps[32];
  const size_t stride = size_t(blockDim.x) * N;
  size_t at = size_t(blockIdx.x) * PACKS * stride + size_t(threadIdx.x) * N;
  float sum = 0;
#pragma unroll
  for (int i = 0; i < PACKS; i++, at += stride) {
    if (at >= count) break;
    float a[N], b[N];
    load(a, x + at, count - at);
    load(b, y + at, count - at);
#pragma unroll
    for (int j = 0; j < N; j++) sum += (a[j] - b[j]) * (a[j] - b[j]);
  }
  sum = block_sum(sum, warps);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// One block.
KERNEL mse_mean_f32(const float *partial, float *mean, int parts, float per_number) {
  __shared__ float warps[32];
  float sum = 0;
  for (int i = threadIdx.x; i < parts; i += blockDim.x) sum += partial[i];
  sum = block_sum(sum, warps);
  if (threadIdx.x == 0) *mean = sum * per_number;
}

KERNEL mse_backward_f32(const float *x, const float *y, const float *dl, float *dx, size_t count, float per_number) {
  const size_t at = (size_t(blockIdx.x) * blockDim.x + threadIdx.x) * N;
  if (at >= count) return;
  const float scale = 2 * *dl * per_number;
  float a[N], b[N];
  load(a, x + at, count - at);
  load(b, y + at, count - at);
#pragma unroll
  for (int i = 0; i < N; i++) a[i] = scale * (a[i] - b[i]);
  store(dx + at, a, count - at);
}
