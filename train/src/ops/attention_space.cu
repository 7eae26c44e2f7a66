// Attention over space: y = softmax(q kᵀ/√width) v for every head of every item (layouts: attention_space.cuh).
//
// The weights are never in memory: a block's queries meet 64 keys or so in a step, with the softmax online.
// `logs` keeps of each query the logarithm to base 2 of its sum of exp(score), from which the backward pass
// has the weights again: (items, heads, tokens rounded up to 64).
#include "attention_space.cuh"

namespace {

// Sizes of a block: `WARPS` warps own `TILES` · 16 rows each and meet `COUNT` others in a step.
template <class T, int D> struct Forward {
  static constexpr bool KEPT = sizeof(T) == 2;
  static constexpr int WARPS = 4, TILES = KEPT && D <= 64 ? 2 : 1;
  static constexpr int COUNT = KEPT ? 64 : 2048 / D;
  static constexpr int THREADS = 32 * WARPS, ROWS = 16 * TILES * WARPS;
};

// The i-th number of this lane in row g or g+8.
DEVICE float &number(Sums &sums, int half, int i) { return sums.at[i / 2][2 * half + i % 2]; }

// The online softmax of a warp's queries: sums are of weights relative to 2^base. Lane 4 g + t has rows g and
// g+8 of each tile, and sums its own columns until the end.
template <int TILES> struct Softmax {
  float base[TILES][2], sum[TILES][2];

  DEVICE Softmax() {
#pragma unroll
    for (int i = 0; i < 2 * TILES; i++) {
      base[i / 2][i % 2] = -INFINITY;
      sum[i / 2][i % 2] = 0;
    }
  }

  // Moves the bases to the largest scores, which are to base 2 when multiplied by `scale`. A lane's bases stay
  // while none would grow by more than 8: until then f32 has room, and `y` need not be multiplied.
  template <int COLUMNS, int D>
  DEVICE void follow(Sums (&scores)[COLUMNS][TILES], Sums (&y)[TILES][D], float scale) {
    float most[TILES][2];
    bool grown = false;
#pragma unroll
    for (int row = 0; row < 2 * TILES; row++) {
      float x = -INFINITY;
#pragma unroll
      for (int i = 0; i < 4 * COLUMNS; i++) x = fmaxf(x, number(scores[i / 4][row / 2], row % 2, i % 4));
      x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 1));
      x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 2)) * scale;
      most[row / 2][row % 2] = x;
      grown = grown || x > base[row / 2][row % 2] + 8;
    }
    if (!grown) return;
#pragma unroll
    for (int row = 0; row < 2 * TILES; row++) {
      float &old = base[row / 2][row % 2];
      const float now = fmaxf(old, most[row / 2][row % 2]), shrink = exp2_fast(old - now);
      old = now;
      sum[row / 2][row % 2] *= shrink;
#pragma unroll
      for (int i = 0; i < 4 * D; i++) number(y[row / 2][i / 4], row % 2, i % 4) *= shrink;
    }
  }

  // Weights of 16 keys from their scores.
  DEVICE Sums weigh(int tile, const Sums &scores, float scale) {
    Sums weights;
#pragma unroll
    for (int i = 0; i < 8; i++) {
      const int half = i % 4 / 2;
      const float x = exp2_fast(scores.at[i / 4][i % 4] * scale - base[tile][half]);
      sum[tile][half] += x;
      weights.at[i / 4][i % 4] = x;
    }
    return weights;
  }
};

template <class T, int D>
DEVICE void forward(const T *qkv, T *y, float *logs, int tokens, int width, float scale) {
  using Size = Forward<T, D>;
  constexpr int TILES = Size::TILES, COUNT = Size::COUNT, COLUMNS = COUNT / 16, S = STRIDE<T, D>;
  using Keys = Step<T, D, COUNT>;
  DYNAMIC_SHARED(Keys, steps);
  const Place at = place();
  const Rows<const T> q = rows(qkv, 3, 0, at, tokens, width);
  const Rows<const T> k = rows(qkv, 3, 1, at, tokens, width);
  const Rows<const T> v = rows(qkv, 3, 2, at, tokens, width);
  const int from_in_block = threadIdx.x / 32 * 16 * TILES, from = at.part * Size::ROWS + from_in_block;

  copy_rows<Size::THREADS, COUNT, D>(steps[0].first, k, 0);
  copy_rows<Size::THREADS, COUNT, D>(steps[0].second, v, 0);
  T *mine = reinterpret_cast<T *>(Size::KEPT ? steps + 1 : steps + 2);
  copy_rows<Size::THREADS, Size::ROWS, D>(mine, q, at.part * Size::ROWS);
  close_copies();
  copies_done<0>();
  __syncthreads();
  const Own<T, D, TILES, Size::KEPT> own(mine + from_in_block * S);
  Sums sums[TILES][D / 16];
  Softmax<TILES> softmax;
  clear(sums);

  const float to_base_2 = scale * LOG2_E;
  const int count = (tokens + COUNT - 1) / COUNT;
  for (int step = 0; step < count; step++) {
    copies_done<0>();
    __syncthreads();
    if (step + 1 < count) {
      Keys &next = steps[(step + 1) % 2];
      copy_rows<Size::THREADS, COUNT, D>(next.first, k, (step + 1) * COUNT);
      copy_rows<Size::THREADS, COUNT, D>(next.second, v, (step + 1) * COUNT);
      close_copies();
    }
    const Keys &here = steps[step % 2];
    Sums scores[COLUMNS][TILES];
    clear(scores);
#pragma unroll
    for (int column = 0; column < COLUMNS; column++) {
      multiply_rows<D>(scores[column], own, here.first + column * 16 * S);
    }
    if ((step + 1) * COUNT > tokens) {
#pragma unroll
      for (int i = 0; i < COLUMNS * TILES; i++) {
        mask(scores[i / TILES][i % TILES], step * COUNT + i / TILES * 16, tokens);
      }
    }
    softmax.follow(scores, sums, to_base_2);
#pragma unroll
    for (int column = 0; column < COLUMNS; column++) {
      A<T> weights[TILES];
#pragma unroll
      for (int m = 0; m < TILES; m++) weights[m] = as_a<T>(softmax.weigh(m, scores[column][m], to_base_2));
      add_rows<D>(sums, weights, here.second + column * 16 * S);
    }
  }

  const Rows<T> out = rows(y, 1, 0, at, tokens, width);
  logs += index(at) * rounded(tokens);
#pragma unroll
  for (int m = 0; m < TILES; m++) {
    float unit[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float sum = softmax.sum[m][half];
      sum += __shfl_xor_sync(ALL_LANES, sum, 1);
      sum += __shfl_xor_sync(ALL_LANES, sum, 2);
      unit[half] = 1 / sum;
      const int row = from + 16 * m + threadIdx.x % 32 / 4 + 8 * half;
      if (threadIdx.x % 4 == 0 && row < rounded(tokens)) logs[row] = softmax.base[m][half] + log2f(sum);
    }
    store<D>(out, from + 16 * m, sums[m], unit);
  }
}

} // namespace

KERNEL __launch_bounds__(128, 2) attention_space_32_bf16(const bf16 *qkv, bf16 *y, float *logs, int tokens, int width, float scale) {
  forward<bf16, 32>(qkv, y, logs, tokens, width, scale);
}
KERNEL __launch_bounds__(128, 2) attention_space_64_bf16(const bf16 *qkv, bf16 *y, float *logs, int tokens, int width, float scale) {
  forward<bf16, 64>(qkv, y, logs, tokens, width, scale);
}
KERNEL __launch_bounds__(128, 2) attention_space_128_bf16(const bf16 *qkv, bf16 *y, float *logs, int tokens, int width, float scale) {
  forward<bf16, 128>(qkv, y, logs, tokens, width, scale);
}
KERNEL __launch_bounds__(128, 2) attention_space_32_f32(const float *qkv, float *y, float *logs, int tokens, int width, float scale) {
  forward<float, 32>(qkv, y, logs, tokens, width, scale);
}
KERNEL __launch_bounds__(128, 2) attention_space_64_f32(const float *qkv, float *y, float *logs, int tokens, int width, float scale) {
  forward<float, 64>(qkv, y, logs, tokens, width, scale);
}
KERNEL __launch_bounds__(128, 2) attention_space_128_f32(const float *qkv, float *y, float *logs, int tokens, int width, float scale) {
  forward<float, 128>(qkv, y, logs, tokens, width, scale);
}
