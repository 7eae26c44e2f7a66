// SwiGLU: [u, g] -> u * g * sigmoid(g) over halves of the last axis (Shazeer 2020).
// x: (rows, 2 half), y: (rows, half). A thread has one pack of y: four f32 or eight bf16.
#include "device.cuh"

// 1 / (1 + exp(-g)): 0 or 1, never NaN, however large g is.
DEVICE float sigmoid(float g) {
  return 1.0f / (1.0f + exp2_fast(-1.44269504f * g));
}

// Where this thread's part of y begins. Parts are packs where rows of halves are `whole` packs, else one number.
template <class T> DEVICE size_t first(bool whole) {
  const size_t pack = blockIdx.x * size_t(blockDim.x) + threadIdx.x;
  return whole ? pack * Pack<T>::N : pack;
}

template <class T> DEVICE void forward(const T *x, T *y, size_t count, size_t half, int whole) {
  const size_t at = first<T>(whole);
  if (at >= count) return;
  const T *u = x + at + at / half * half, *g = u + half;
  const auto value = [](T u, T g) { return from_float<T>(to_float(u) * to_float(g) * sigmoid(to_float(g))); };
  if (!whole) {
    y[at] = value(*u, *g);
    return;
  }
  const Pack<T> us = load_pack(u), gs = load_pack(g);
  Pack<T> ys;
  for (int i = 0; i < Pack<T>::N; i++) ys.at[i] = value(us.at[i], gs.at[i]);
  store_pack(y + at, ys);
}

// du = dy * g * s, dg = dy * u * s * (1 + g * (1 - s)) with s = sigmoid(g).
template <class T>
DEVICE void backward(const T *x, const T *dy, T *dx, size_t count, size_t half, int whole) {
  const size_t at = first<T>(whole);
  if (at >= count) return;
  const size_t place = at + at / half * half;
  const auto slopes = [](T u, T g, T dy, T &du, T &dg) {
    const float gate = to_float(g), s = sigmoid(gate), slope = to_float(dy);
    du = from_float<T>(slope * gate * s);
    dg = from_float<T>(slope * to_float(u) * s * (1.0f + gate * (1.0f - s)));
  };
  if (!whole) {
    slopes(x[place], x[place + half], dy[at], dx[place], dx[place + half]);
    return;
  }
  const Pack<T> us = load_pack(x + place), gs = load_pack(x + place + half), dys = load_pack(dy + at);
  Pack<T> dus, dgs;
  for (int i = 0; i < Pack<T>::N; i++) slopes(us.at[i], gs.at[i], dys.at[i], dus.at[i], dgs.at[i]);
  store_pack(dx + place, dus);
  store_pack(dx + place + half, dgs);
}

KERNEL swiglu_forward_f32(const float *x, float *y, size_t count, size_t half, int whole) {
  forward(x, y, count, half, whole);
}
KERNEL swiglu_forward_bf16(const bf16 *x, bf16 *y, size_t count, size_t half, int whole) {
  forward(x, y, count, half, whole);
}
KERNEL swiglu_backward_f32(const float *x, const float *dy, float *dx, size_t count, size_t half, int whole) {
  backward(x, dy, dx, count, half, whole);
}
KERNEL swiglu_backward_bf16(const bf16 *x, const bf16 *dy, bf16 *dx, size_t count, size_t half, int whole) {
  backward(x, dy, dx, count, half, whole);
}
