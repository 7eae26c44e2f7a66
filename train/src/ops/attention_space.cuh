// Attention over space, forward and backward: what both passes of the kernels build on.
//
// qkv and its gradient: (items, tokens, 3 · heads · width) as [q | k | v] by heads; y: (items, tokens,
// heads · width), all from multiples of 16 bytes; heads are a multiple of 8 wide and computed with as D.
//
// A block owns some rows of one head, 16 or 32 of them a warp, and walks over the other rows of the head in
// steps that are copied to shared memory while the step before is computed (as in FlashAttention, Dao 2023).
#pragma once

#include "device.cuh"
#include "tiles.cuh"

// Each source has its own.
namespace {

constexpr float LOG2_E = 1.4426950408889634f;

// The grid has a block for some rows (x) of every head (y) of every item (z).
struct Place {
  unsigned part, head, item, heads;
};

DEVICE Place place() { return {blockIdx.x, blockIdx.y, blockIdx.z, gridDim.y}; }

// One role's rows of a head in memory.
template <class T> struct Rows {
  T *first;
  unsigned stride;
  int tokens, width;

  DEVICE T *row(unsigned i) const { return first + size_t(stride) * i; }
};

// Role 0, 1 or 2 (q, k, v) of packed rows; or the only one.
template <class T> DEVICE Rows<T> rows(T *all, int roles, int role, Place at, int tokens, int width) {
  const unsigned channels = at.heads * width, stride = roles * channels;
  return {all + size_t(at.item) * tokens * stride + (role * channels + at.head * width), stride, tokens, width};
}

// Copies rows `from..from + COUNT` to shared memory, `D` numbers each, with zeros where there are none.
// A thread copies the same 16 bytes of some of the rows.
template <int THREADS, int COUNT, int D, class T>
DEVICE void copy_rows(T *shared, const Rows<const T> &rows, int from) {
  constexpr int N = Pack<T>::N, PACKS = D / N, AT_ONCE = THREADS / PACKS, S = STRIDE<T, D>;
  const int first = threadIdx.x / PACKS, column = threadIdx.x % PACKS * N;
  const unsigned source = (from + first) * rows.stride + column;
  T *to = shared + first * S + column;
#pragma unroll
  for (int row = 0; row < COUNT; row += AT_ONCE) {
    const bool there = from + row + first < rows.tokens && column < rows.width;
    copy_async(to + row * S, rows.first + (source + row * rows.stride), there);
  }
}

DEVICE void store_two(float *to, float x, float y) { *reinterpret_cast<float2 *>(to) = make_float2(x, y); }
DEVICE void store_two(bf16 *to, float x, float y) { *reinterpret_cast<uint32_t *>(to) = pack_bf16(x, y); }

// Stores 16 rows × D of sums, times a factor for rows g and g+8 of each lane.
template <int D, class T>
DEVICE void store(const Rows<T> &rows, int from, const Sums (&sums)[D / 16], const float (&factor)[2]) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int row = from + g + 8 * half;
    if (row >= rows.tokens) continue;
    T *to = rows.row(row) + 2 * t;
#pragma unroll
    for (int d = 0; d < D / 8; d++) {
      const float x = sums[d / 2].at[d % 2][2 * half] * factor[half];
      const float y = sums[d / 2].at[d % 2][2 * half + 1] * factor[half];
      if (8 * d + 2 * t < rows.width) store_two(to + 8 * d, x, y);
    }
  }
}

// Rows of a head that a warp owns: in registers, or where those are too few in shared memory.
template <class T, int D, int TILES, bool KEPT> struct Own {
  A<T> tiles[TILES][D / 16];

  DEVICE explicit Own(const T *shared) {
#pragma unroll
    for (int i = 0; i < TILES * D / 16; i++) {
      const int m = i / (D / 16), d = i % (D / 16);
      tiles[m][d] = load_a<STRIDE<T, D>>(shared + m * 16 * STRIDE<T, D> + d * 16);
    }
  }
  DEVICE A<T> at(int m, int d) const { return tiles[m][d]; }
};

template <class T, int D, int TILES> struct Own<T, D, TILES, false> {
  const T *shared;

  DEVICE explicit Own(const T *shared) : shared(shared) {}
  DEVICE A<T> at(int m, int d) const { return load_a<STRIDE<T, D>>(shared + m * 16 * STRIDE<T, D> + d * 16); }
};

// The other rows' two roles for one step.
template <class T, int D, int COUNT> struct Step {
  T first[COUNT * STRIDE<T, D>];
  T second[COUNT * STRIDE<T, D>];
};

// sums += own · rowsᵀ, over 16 rows in shared memory.
template <int D, int TILES, class OWN, class T>
DEVICE void multiply_rows(Sums (&sums)[TILES], const OWN &own, const T *rows) {
#pragma unroll
  for (int d = 0; d < D / 16; d++) {
    const B<T> b = load_b<STRIDE<T, D>>(rows + d * 16);
#pragma unroll
    for (int m = 0; m < TILES; m++) multiply(sums[m], own.at(m, d), b);
  }
}

// sums += a · rows, over 16 rows in shared memory.
template <int D, int TILES, class T>
DEVICE void add_rows(Sums (&sums)[TILES][D / 16], const A<T> (&a)[TILES], const T *rows) {
#pragma unroll
  for (int d = 0; d < D / 16; d++) {
    const B<T> b = load_b_transposed<STRIDE<T, D>>(rows + d * 16);
#pragma unroll
    for (int m = 0; m < TILES; m++) multiply(sums[m][d], a[m], b);
  }
}

template <int N> DEVICE void clear(Sums (&sums)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) sums[i] = zeros();
}

template <int N, int M> DEVICE void clear(Sums (&sums)[N][M]) {
#pragma unroll
  for (int i = 0; i < N; i++) clear(sums[i]);
}

// Takes keys that are not there out of 16 columns of scores; `first` is the first column's key.
DEVICE void mask(Sums &scores, int first, int tokens) {
  const int key = first + threadIdx.x % 4 * 2;
#pragma unroll
  for (int i = 0; i < 8; i++) {
    if (key + i / 4 * 8 + i % 2 >= tokens) scores.at[i / 4][i % 4] = -INFINITY;
  }
}

DEVICE size_t rounded(int tokens) { return size_t(tokens + 63) / 64 * 64; }

// The head's place among all heads.
DEVICE size_t index(Place at) { return size_t(at.item) * at.heads + at.head; }

} // namespace
