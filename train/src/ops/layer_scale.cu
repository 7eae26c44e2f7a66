// LayerScale folded into a weight (Touvron et al. 2021): y = γ ∘ w by rows, and its gradients
// dw = γ ∘ dy, dγ = Σ w ∘ dy over a row.
//
// w, dw: (rows, columns) in f32; y, dy: the same in f32 or bf16; γ, dγ: (rows) in f32. A block takes a row.
#include "device.cuh"

namespace {

template <class T> DEVICE void forward(const float *w, const float *gamma, T *y, int columns) {
  constexpr int N = Pack<T>::N;
  const size_t row = size_t(blockIdx.x) * columns;
  const float scale = gamma[blockIdx.x];
  for (int at = threadIdx.x * N; at < columns; at += blockDim.x * N) {
    float values[N];
    load(values, w + row + at, columns - at);
#pragma unroll
    for (float &value : values) value *= scale;
    store(y + row + at, values, columns - at);
  }
}

template <class T>
DEVICE void backward(const float *w, const float *gamma, const T *dy, float *dw, float *dgamma, int columns) {
  __shared__ float warps[32];
  constexpr int N = Pack<T>::N;
  const size_t row = size_t(blockIdx.x) * columns;
  const float scale = gamma[blockIdx.x];
  float sum = 0;
  for (int at = threadIdx.x * N; at < columns; at += blockDim.x * N) {
    float values[N], slopes[N];
    load(values, w + row + at, columns - at);
    load(slopes, dy + row + at, columns - at);
#pragma unroll
    for (int i = 0; i < N; i++) {
      sum += values[i] * slopes[i];
      slopes[i] *= scale;
    }
    store(dw + row + at, slopes, columns - at);
  }
  sum = block_sum(sum, warps);
  if (threadIdx.x == 0) dgamma[blockIdx.x] = sum;
}

} // namespace

KERNEL layer_scale_forward_f32(const float *w, const float *gamma, float *y, int columns) {
  forward(w, gamma, y, columns);
}

KERNEL layer_scale_forward_bf16(const float *w, const float *gamma, bf16 *y, int columns) {
  forward(w, gamma, y, columns);
}

KERNEL layer_scale_backward_f32(const float *w, const float *gamma, const float *dy, float *dw, float *dgamma,
                                int columns) {
  backward(w, gamma, dy, dw, dgamma, columns);
}

KERNEL layer_scale_backward_bf16(const float *w, const float *gamma, const bf16 *dy, float *dw, float *dgamma,
                                 int columns) {
  backward(w, gamma, dy, dw, dgamma, columns);
}
