// GELU: y = x Φ(x), Φ(x) = ½ erfc(−x/√2) (Hendrycks and Gimpel 2016), and its gradient
// dx = dy (Φ(x) + x φ(x)), φ(x) = exp(−x²/2)/√(2π).
//
// x, y, dx, dy: `count` numbers. A thread takes sixteen bytes.
#include "device.cuh"

namespace {

// Without the difference 1 + erf, which would leave nothing of the lower tail.
DEVICE float normal(float x) { return 0.5f * erfcf(-0.70710678f * x); }

template <class T> DEVICE void forward(const T *x, T *y, size_t count) {
  constexpr int N = Pack<T>::N;
  const size_t at = (size_t(blockIdx.x) * blockDim.x + threadIdx.x) * N;
  if (at >= count) return;
  float values[N];
  load(values, x + at, count - at);
#pragma unroll
  for (float &value : values) value *= normal(value);
  store(y + at, values, count - at);
}

template <class T> DEVICE void backward(const T *x, const T *dy, T *dx, size_t count) {
  constexpr int N = Pack<T>::N;
  constexpr float PEAK = 0.39894228f; // 1/√(2π)
  const size_t at = (size_t(blockIdx.x) * blockDim.x + threadIdx.x) * N;
  if (at >= count) return;
  float values[N], slopes[N];
  load(values, x + at, count - at);
  load(slopes, dy + at, count - at);
#pragma unroll
  for (int i = 0; i < N; i++) {
    const float density = PEAK * expf(-0.5f * values[i] * values[i]);
    slopes[i] *= normal(values[i]) + values[i] * density;
  }
  store(dx + at, slopes, count - at);
}

} // namespace

KERNEL gelu_forward_f32(const float *x, float *y, size_t count) { forward(x, y, count); }

KERNEL gelu_forward_bf16(const bf16 *x, bf16 *y, size_t count) { forward(x, y, count); }

KERNEL gelu_backward_f32(const float *x, const float *dy, float *dx, size_t count) { backward(x, dy, dx, count); }

KERNEL gelu_backward_bf16(const bf16 *x, const bf16 *dy, bf16 *dx, size_t count) { backward(x, dy, dx, count); }
