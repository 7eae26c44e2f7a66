// A residual with stochastic depth (Huang et al. 2016): y = x + (a + b) · kept, and its gradient
// da = db = dy · kept; dx is dy.
//
// x, y, dy: (items, count) in f32; a, b, da: the same in f32 or bf16; kept: one factor for each item. Without b
// and without factors their addresses are null. A block takes a part of one item, blockIdx.y; a thread as many
// numbers as are sixteen bytes of a branch.
#include "device.cuh"

namespace {

template <class T>
DEVICE void forward(const float *x, const T *a, const T *b, const float *kept, float *y, size_t count) {
  constexpr int N = Pack<T>::N;
  const size_t at = (size_t(blockIdx.x) * blockDim.x + threadIdx.x) * N;
  if (at >= count) return;
  const size_t left = count - at, place = blockIdx.y * count + at;
  const float factor = kept ? kept[blockIdx.y] : 1;
  float sums[N], branch[N], other[N] = {};
  load(sums, x + place, left);
  load(branch, a + place, left);
  if (b) load(other, b + place, left);
#pragma unroll
  for (int i = 0; i < N; i++) sums[i] += (branch[i] + other[i]) * factor;
  store(y + place, sums, left);
}

template <class T> DEVICE void backward(const float *dy, const float *kept, T *da, size_t count) {
  constexpr int N = Pack<T>::N;
  const size_t at = (size_t(blockIdx.x) * blockDim.x + threadIdx.x) * N;
  if (at >= count) return;
  const size_t left = count - at, place = blockIdx.y * count + at;
  const float factor = kept ? kept[blockIdx.y] : 1;
  float slopes[N];
  load(slopes, dy + place, left);
#pragma unroll
  for (float &slope : slopes) slope *= factor;
  store(da + place, slopes, left);
}

} // namespace

KERNEL residual_forward_f32(const float *x, const float *a, const float *b, const float *kept, float *y, size_t count) {
  forward(x, a, b, kept, y, count);
}

KERNEL residual_forward_bf16(const float *x, const bf16 *a, const bf16 *b, const float *kept, float *y, size_t count) {
  forward(x, a, b, kept, y, count);
}

KERNEL residual_backward_f32(const float *dy, const float *kept, float *da, size_t count) {
  backward(dy, kept, da, count);
}

KERNEL residual_backward_bf16(const float *dy, const float *kept, bf16 *da, size_t count) {
  backward(dy, kept, da, count);
}
