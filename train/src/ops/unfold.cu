// Patches of a grid as rows, and back; each is the other's gradient. Both ways a gather: a thread computes what
// it writes, up to sixteen bytes of one cell's channels, so that no sum depends on the order of threads.
//
// unfold: x (items, *space, channels) → y (items, *grid, *kernel, channels): at token t and place k of the kernel
// lies cell t · stride + k. fold: y → x, for each cell the sum over all its (t, k), in f32 and in the order of t.
// Three axes, the slowest first; an axis that a grid does not have is one long. blockIdx.y is the item.
#include "extents.cuh"

namespace {

struct Tiling {
  int space[3], kernel[3], stride[3], grid[3];
};

template <class T> DEVICE void unfold(const T *x, T *y, int channels, const Tiling &tiling) {
  constexpr int N = Pack<T>::N;
  const unsigned parts = (channels + N - 1) / N, rows = volume(tiling.grid) * volume(tiling.kernel);
  const unsigned index = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned row = index / parts, channel = index % parts * N;
  if (row >= rows) return;
  int within[3], token[3], cell[3];
  unravel(unravel(row, tiling.kernel, within), tiling.grid, token);
#pragma unroll
  for (int axis = 0; axis < 3; axis++) cell[axis] = token[axis] * tiling.stride[axis] + within[axis];
  float values[N];
  load(values, x + ravel(blockIdx.y, tiling.space, cell) * channels + channel, channels - channel);
  store(y + (size_t(blockIdx.y) * rows + row) * channels + channel, values, channels - channel);
}

template <class T> DEVICE void fold(const T *y, T *x, int channels, const Tiling &tiling) {
  constexpr int N = Pack<T>::N;
  const unsigned parts = (channels + N - 1) / N, cells = volume(tiling.space);
  const unsigned index = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned place = index / parts, channel = index % parts * N;
  if (place >= cells) return;
  // Along each axis the first and the last token whose kernel covers the cell.
  int cell[3], first[3], last[3];
  unravel(place, tiling.space, cell);
#pragma unroll
  for (int axis = 0; axis < 3; axis++) {
    const int before = cell[axis] - tiling.kernel[axis];
    first[axis] = before < 0 ? 0 : before / tiling.stride[axis] + 1;
    last[axis] = min(cell[axis] / tiling.stride[axis], tiling.grid[axis] - 1);
  }
  float sums[N] = {};
  int token[3];
  for (token[0] = first[0]; token[0] <= last[0]; token[0]++) {
    for (token[1] = first[1]; token[1] <= last[1]; token[1]++) {
      for (token[2] = first[2]; token[2] <= last[2]; token[2]++) {
        int within[3];
#pragma unroll
        for (int axis = 0; axis < 3; axis++) within[axis] = cell[axis] - token[axis] * tiling.stride[axis];
        const size_t row = ravel(ravel(blockIdx.y, tiling.grid, token), tiling.kernel, within);
        float values[N];
        load(values, y + row * channels + channel, channels - channel);
#pragma unroll
        for (int i = 0; i < N; i++) sums[i] += values[i];
      }
    }
  }
  store(x + (size_t(blockIdx.y) * cells + place) * channels + channel, sums, channels - channel);
}

} // namespace

KERNEL unfold_f32(const float *x, float *y, int channels, int s0, int s1, int s2, int k0, int k1, int k2, int t0,
                  int t1, int t2, int g0, int g1, int g2) {
  unfold(x, y, channels, {{s0, s1, s2}, {k0, k1, k2}, {t0, t1, t2}, {g0, g1, g2}});
}

KERNEL unfold_bf16(const bf16 *x, bf16 *y, int channels, int s0, int s1, int s2, int k0, int k1, int k2, int t0,
                   int t1, int t2, int g0, int g1, int g2) {
  unfold(x, y, channels, {{s0, s1, s2}, {k0, k1, k2}, {t0, t1, t2}, {g0, g1, g2}});
}

KERNEL fold_f32(const float *y, float *x, int channels, int s0, int s1, int s2, int k0, int k1, int k2, int t0,
                int t1, int t2, int g0, int g1, int g2) {
  fold(y, x, channels, {{s0, s1, s2}, {k0, k1, k2}, {t0, t1, t2}, {g0, g1, g2}});
}

KERNEL fold_bf16(const bf16 *y, bf16 *x, int channels, int s0, int s1, int s2, int k0, int k1, int k2, int t0,
                 int t1, int t2, int g0, int g1, int g2) {
  fold(y, x, channels, {{s0, s1, s2}, {k0, k1, k2}, {t0, t1, t2}, {g0, g1, g2}});
}
