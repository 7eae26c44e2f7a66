// Queries and keys of attention: LayerNorm over each head, then a rotation of feature pairs; values as they are.
// Formulas in qk_norm.rs. qkv: (tokens, 3C) by roles or by heads; y: (tokens, 3C), [q | k | v], each by heads.
// affine: (4, width) f32, gain and bias of queries, then of keys. angles: (S, pairs) of (cos, sin), where token t
// has row t % S; the features beyond the pairs are not turned.
//
// A row is one head of one token, number token * heads + head. Blocks are (`chunk` rows, role). A row belongs to
// `lanes` neighbouring threads, a power of two up to a warp, and each has one pack of it: 4 f32 or 8 bf16.
#include "device.cuh"

namespace {

constexpr int THREADS = 256;
constexpr float EPSILON = 1e-5f;

// How qkv is laid out, and how threads share it.
struct Layout {
  int rows, tokens, heads, width, pairs, by_heads, lanes, chunk;

  DEVICE int role() const { return blockIdx.y; }
  DEVICE int first_feature(int features) const { return threadIdx.x % lanes * features; }
  DEVICE int first_row() const { return blockIdx.x * chunk + threadIdx.x / lanes; }
  DEVICE int last_row() const { return min(int(blockIdx.x + 1) * chunk, rows); }
  DEVICE int step() const { return THREADS / lanes; }

  // Where a row begins in qkv.
  DEVICE size_t place(int row) const {
    const int head = row % heads, part = by_heads ? head * 3 + role() : role() * heads + head;
    return row / heads * size_t(3 * heads * width) + part * width;
  }

  // And in y.
  DEVICE size_t sorted(int row) const {
    return row / heads * size_t(3 * heads * width) + (role() * heads + row % heads) * width;
  }
};

// Over a row's threads, each of which gets the result.
DEVICE float row_sum(float x, int lanes) {
  for (int apart = lanes / 2; apart > 0; apart /= 2) x += __shfl_xor_sync(ALL_LANES, x, apart);
  return x;
}

// A part less its row's mean, over the deviation; gives 1 / deviation.
template <int N> DEVICE float normalize(float (&part)[N], int left, const Layout &at) {
  float sum = 0, squares = 0;
#pragma unroll
  for (int n = 0; n < N; n++) sum += part[n];
  const float mean = row_sum(sum, at.lanes) / at.width;
#pragma unroll
  for (int n = 0; n < N; n++) {
    part[n] = n < left ? part[n] - mean : 0.0f;
    squares += part[n] * part[n];
  }
  const float scale = 1.0f / sqrtf(row_sum(squares, at.lanes) / at.width + EPSILON);
#pragma unroll
  for (int n = 0; n < N; n++) part[n] *= scale;
  return scale;
}

// Turns a part's pairs (e, o) by their angles: e cos - o sin, o cos + e sin; or back, where sign is -1.
template <int N> DEVICE void turn(float (&part)[N], const float2 *angles, int row, float sign, const Layout &at) {
  const int first = at.first_feature(N) / 2;
  angles += row / at.heads % at.tokens * size_t(at.pairs);
#pragma unroll
  for (int n = 0; n < N / 2; n++) {
    if (first + n >= at.pairs) continue;
    const float2 angle = angles[first + n];
    const float even = part[2 * n], odd = part[2 * n + 1], sine = sign * angle.y;
    part[2 * n] = even * angle.x - odd * sine;
    part[2 * n + 1] = odd * angle.x + even * sine;
  }
}

template <class T>
DEVICE void forward(const T *qkv, const float *affine, const float2 *angles, T *y, const Layout &at) {
  constexpr int N = Pack<T>::N;
  const int feature = at.first_feature(N), left = max(at.width - feature, 0); // numbers of the row from there on
  float gain[N] = {}, bias[N] = {};
#pragma unroll
  for (int n = 0; n < N; n++) {
    if (at.role() == 2 || n >= left) continue;
    gain[n] = affine[2 * at.role() * at.width + feature + n];
    bias[n] = affine[(2 * at.role() + 1) * at.width + feature + n];
  }
  // All threads take part in a row's sums, so those without a row have the last one again.
  for (int first = at.first_row(), begin = blockIdx.x * at.chunk; begin < at.last_row(); begin += at.step(), first += at.step()) {
    const int row = min(first, at.last_row() - 1);
    float part[N];
    load(part, qkv + at.place(row) + feature, left);
    if (at.role() < 2) {
      normalize(part, left, at);
#pragma unroll
      for (int n = 0; n < N; n++) part[n] = part[n] * gain[n] + bias[n];
      turn(part, angles, row, 1.0f, at);
    }
    if (first == row) store(y + at.sorted(row) + feature, part, left);
  }
}

// Gradients of a chunk's rows, and their sums for the weights: partial is (chunks, 4, width).
template <class T>
DEVICE void backward(const T *qkv, const float *affine, const float2 *angles, const T *dy, T *dx, float *partial, const Layout &at) {
  constexpr int N = Pack<T>::N;
  __shared__ float held[2 * N][THREADS];
  const int feature = at.first_feature(N), left = max(at.width - feature, 0); // numbers of the row from there on
  float gain[N] = {}, sums[2 * N] = {};
#pragma unroll
  for (int n = 0; n < N; n++) {
    if (at.role() < 2 && n < left) gain[n] = affine[2 * at.role() * at.width + feature + n];
  }
  for (int first = at.first_row(), begin = blockIdx.x * at.chunk; begin < at.last_row(); begin += at.step(), first += at.step()) {
    const int row = min(first, at.last_row() - 1);
    float normal[N], slope[N];
    load(slope, dy + at.sorted(row) + feature, left);
    if (at.role() < 2) {
      load(normal, qkv + at.place(row) + feature, left);
      const float scale = normalize(normal, left, at);
      turn(slope, angles, row, -1.0f, at);
      float mean = 0, mean_normal = 0;
#pragma unroll
      for (int n = 0; n < N; n++) {
        if (first == row) {
          sums[n] += slope[n] * normal[n];
          sums[N + n] += slope[n];
        }
        slope[n] *= gain[n];
        mean += slope[n];
        mean_normal += slope[n] * normal[n];
      }
      mean = row_sum(mean, at.lanes) / at.width;
      mean_normal = row_sum(mean_normal, at.lanes) / at.width;
#pragma unroll
      for (int n = 0; n < N; n++) slope[n] = scale * (slope[n] - mean - normal[n] * mean_normal);
    }
    if (first == row) store(dx + at.place(row) + feature, slope, left);
  }
  if (at.role() == 2) return;
#pragma unroll
  for (int n = 0; n < 2 * N; n++) held[n][threadIdx.x] = sums[n];
  for (int half = THREADS / 2; half >= at.lanes; half /= 2) {
    __syncthreads();
    if (threadIdx.x >= half) continue;
#pragma unroll
    for (int n = 0; n < 2 * N; n++) held[n][threadIdx.x] += held[n][threadIdx.x + half];
  }
  if (threadIdx.x >= at.lanes) return;
  partial += (blockIdx.x * size_t(4) + 2 * at.role()) * at.width + feature;
#pragma unroll
  for (int n = 0; n < N; n++) {
    if (n >= left) continue;
    partial[n] = held[n][threadIdx.x];
    partial[at.width + n] = held[N + n][threadIdx.x];
  }
}

} // namespace

KERNEL __launch_bounds__(256) qk_norm_forward_f32(const float *qkv, const float *affine, const float2 *angles, float *y, int rows,
                                                  int tokens, int heads, int width, int pairs, int by_heads, int lanes, int chunk) {
  forward(qkv, affine, angles, y, Layout{rows, tokens, heads, width, pairs, by_heads, lanes, chunk});
}
KERNEL __launch_bounds__(256) qk_norm_forward_bf16(const bf16 *qkv, const float *affine, const float2 *angles, bf16 *y, int rows,
                                                   int tokens, int heads, int width, int pairs, int by_heads, int lanes, int chunk) {
  forward(qkv, affine, angles, y, Layout{rows, tokens, heads, width, pairs, by_heads, lanes, chunk});
}

KERNEL __launch_bounds__(256) qk_norm_backward_f32(const float *qkv, const float *affine, const float2 *angles, const float *dy, float *dx,
                                                   float *partial, int rows, int tokens, int heads, int width, int pairs, int by_heads,
                                                   int lanes, int chunk) {
  backward(qkv, affine, angles, dy, dx, partial, Layout{rows, tokens, heads, width, pairs, by_heads, lanes, chunk});
}
KERNEL __launch_bounds__(256) qk_norm_backward_bf16(const bf16 *qkv, const float *affine, const float2 *angles, const bf16 *dy, bf16 *dx,
                                                    float *partial, int rows, int tokens, int heads, int width, int pairs, int by_heads,
                                                    int lanes, int chunk) {
  backward(qkv, affine, angles, dy, dx, partial, Layout{rows, tokens, heads, width, pairs, by_heads, lanes, chunk});
}

// Sums the columns of partial, (chunks, columns): a block of 32 warps has 32 columns, a warp every 32nd row.
KERNEL __launch_bounds__(1024) qk_norm_affine_f32(const float *partial, float *daffine, int chunks, int columns) {
  __shared__ float held[32][33];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, column = blockIdx.x * 32 + lane;
  float sum = 0;
#pragma unroll 8
  for (int chunk = warp; column < columns && chunk < chunks; chunk += 32) sum += partial[chunk * size_t(columns) + column];
  held[warp][lane] = sum;
  __syncthreads();
  // Now warp w sums column w of the block.
  sum = warp_sum(held[lane][warp]);
  if (lane == 0 && blockIdx.x * 32 + warp < columns) daffine[blockIdx.x * 32 + warp] = sum;
}
