// The gradient of attention over space (layouts: attention_space.cuh). With P the weights, had again from the
// logarithms that the forward pass kept, and δ = Σ dy·y of each query:
//   dS = P ∘ (dy vᵀ − δ), dq = dS k/√width, dk = dSᵀ q/√width, dv = Pᵀ dy.
//
// One kernel owns queries and sums dq, another owns keys and sums dk and dv: seven products for five, but
// no two blocks add to the same number, so results have the same bits in every run. Both read `sums`, two
// numbers of every query, 64 logarithms before their 64 δ: (items, heads, groups of 64 tokens, 2, 64).
#include "attention_space.cuh"

namespace {

// Sizes of a block: `WARPS` warps own `TILES` · 16 rows each and meet `COUNT` others in a step.
template <class T, int D> struct Backward {
  static constexpr bool KEPT = sizeof(T) == 2;
  static constexpr int WARPS = D * sizeof(T) <= 256 ? 4 : 2, TILES = KEPT && D <= 64 ? 2 : 1;
  static constexpr int COUNT = 8 * TILES * WARPS;
  static constexpr int THREADS = 32 * WARPS, ROWS = 16 * TILES * WARPS;
};

// A query's logarithm among the sums of a head; its δ is `DELTA` further.
DEVICE int log_place(int query) { return query / 64 * 128 + query % 64; }
constexpr int DELTA = 64;

// The same for queries, with their sums.
template <class T, int D, int COUNT> struct alignas(16) QueryStep : Step<T, D, COUNT> {
  float logs[COUNT];
  float deltas[COUNT];
};

// Sums of 32 queries of a head; eight lanes share one query.
template <class T>
DEVICE void sums_of(const T *y, const T *dy, const float *logs, float *sums, int tokens, int width) {
  constexpr int N = Pack<T>::N;
  const Place at = place();
  const int row = at.part * 32 + threadIdx.x / 8, lane = threadIdx.x % 8;
  float delta = 0;
  if (row < tokens) {
    const T *a = rows(y, 1, 0, at, tokens, width).row(row), *b = rows(dy, 1, 0, at, tokens, width).row(row);
    for (int i = lane * N; i < width; i += 8 * N) {
      const Pack<T> x = load_pack(a + i), z = load_pack(b + i);
      for (int j = 0; j < N; j++) delta += to_float(x.at[j]) * to_float(z.at[j]);
    }
  }
  for (int lanes = 4; lanes > 0; lanes /= 2) delta += __shfl_xor_sync(ALL_LANES, delta, lanes);
  if (lane != 0) return;
  sums += index(at) * 2 * rounded(tokens) + log_place(row);
  sums[0] = logs[index(at) * rounded(tokens) + row];
  sums[DELTA] = delta;
}

// dq of a block's queries, over steps of keys and values.
template <class T, int D>
DEVICE void queries_backward(const T *qkv, const T *dy, const float *sums, T *dqkv, int tokens, int width, float scale) {
  using Size = Backward<T, D>;
  constexpr int TILES = Size::TILES, COUNT = Size::COUNT, S = STRIDE<T, D>;
  using Keys = Step<T, D, COUNT>;
  DYNAMIC_SHARED(Keys, steps);
  const Place at = place();
  const Rows<const T> q = rows(qkv, 3, 0, at, tokens, width);
  const Rows<const T> k = rows(qkv, 3, 1, at, tokens, width);
  const Rows<const T> v = rows(qkv, 3, 2, at, tokens, width);
  const Rows<const T> slopes = rows(dy, 1, 0, at, tokens, width);
  const int from_in_block = threadIdx.x / 32 * 16 * TILES, from = at.part * Size::ROWS + from_in_block;

  T *mine = reinterpret_cast<T *>(Size::KEPT ? steps : steps + 2);
  copy_rows<Size::THREADS, Size::ROWS, D>(mine, q, at.part * Size::ROWS);
  copy_rows<Size::THREADS, Size::ROWS, D>(mine + Size::ROWS * S, slopes, at.part * Size::ROWS);
  close_copies();
  copies_done<0>();
  __syncthreads();
  const Own<T, D, TILES, Size::KEPT> own_q(mine + from_in_block * S);
  const Own<T, D, TILES, Size::KEPT> own_dy(mine + (Size::ROWS + from_in_block) * S);
  __syncthreads();
  copy_rows<Size::THREADS, COUNT, D>(steps[0].first, k, 0);
  copy_rows<Size::THREADS, COUNT, D>(steps[0].second, v, 0);
  close_copies();

  sums += index(at) * 2 * rounded(tokens);
  float log[TILES][2], delta[TILES][2];
  Sums dq[TILES][D / 16];
#pragma unroll
  for (int m = 0; m < TILES; m++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = from + 16 * m + threadIdx.x % 32 / 4 + 8 * half;
      log[m][half] = row < tokens ? sums[log_place(row)] : 0;
      delta[m][half] = row < tokens ? sums[log_place(row) + DELTA] : 0;
    }
  }
  clear(dq);

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
    for (int column = 0; column < COUNT / 16; column++) {
      const T *key_rows = here.first + column * 16 * S, *value_rows = here.second + column * 16 * S;
      Sums p[TILES], ds[TILES];
      clear(p);
#pragma unroll
      for (int i = 0; i < 8 * TILES; i++) ds[i / 8].at[i / 4 % 2][i % 4] = -delta[i / 8][i % 4 / 2];
      multiply_rows<D>(p, own_q, key_rows);
      multiply_rows<D>(ds, own_dy, value_rows);
      A<T> a[TILES];
#pragma unroll
      for (int m = 0; m < TILES; m++) {
        if ((step + 1) * COUNT > tokens) mask(p[m], step * COUNT + column * 16, tokens);
#pragma unroll
        for (int i = 0; i < 8; i++) {
          const float score = p[m].at[i / 4][i % 4] * to_base_2;
          ds[m].at[i / 4][i % 4] *= exp2_fast(score - log[m][i % 4 / 2]);
        }
        a[m] = as_a<T>(ds[m]);
      }
      add_rows<D>(dq, a, key_rows);
    }
  }

  const float factor[2] = {scale, scale};
#pragma unroll
  for (int m = 0; m < TILES; m++) store<D>(rows(dqkv, 3, 0, at, tokens, width), from + 16 * m, dq[m], factor);
}

// dk and dv of a block's keys, over steps of queries and dy.
template <class T, int D>
DEVICE void keys_backward(const T *qkv, const T *dy, const float *sums, T *dqkv, int tokens, int width, float scale) {
  using Size = Backward<T, D>;
  constexpr int TILES = Size::TILES, COUNT = Size::COUNT, S = STRIDE<T, D>;
  using Queries = QueryStep<T, D, COUNT>;
  DYNAMIC_SHARED(Queries, steps);
  const Place at = place();
  const Rows<const T> q = rows(qkv, 3, 0, at, tokens, width);
  const Rows<const T> k = rows(qkv, 3, 1, at, tokens, width);
  const Rows<const T> v = rows(qkv, 3, 2, at, tokens, width);
  const Rows<const T> slopes = rows(dy, 1, 0, at, tokens, width);
  const int from_in_block = threadIdx.x / 32 * 16 * TILES, from = at.part * Size::ROWS + from_in_block;
  sums += index(at) * 2 * rounded(tokens);
  const auto fetch_step = [&](int step) {
    Queries &to = steps[step % 2];
    copy_rows<Size::THREADS, COUNT, D>(to.first, q, step * COUNT);
    copy_rows<Size::THREADS, COUNT, D>(to.second, slopes, step * COUNT);
    const int i = threadIdx.x * 4;
    if (i < COUNT) {
      const float *source = sums + log_place(step * COUNT) + i;
      copy_async(to.logs + i, source, true);
      copy_async(to.deltas + i, source + DELTA, true);
    }
    close_copies();
  };

  T *mine = reinterpret_cast<T *>(Size::KEPT ? steps : steps + 2);
  copy_rows<Size::THREADS, Size::ROWS, D>(mine, k, at.part * Size::ROWS);
  copy_rows<Size::THREADS, Size::ROWS, D>(mine + Size::ROWS * S, v, at.part * Size::ROWS);
  close_copies();
  copies_done<0>();
  __syncthreads();
  const Own<T, D, TILES, Size::KEPT> own_k(mine + from_in_block * S);
  const Own<T, D, TILES, Size::KEPT> own_v(mine + (Size::ROWS + from_in_block) * S);
  __syncthreads();
  fetch_step(0);
  Sums dk[TILES][D / 16], dv[TILES][D / 16];
  clear(dk);
  clear(dv);

  const float to_base_2 = scale * LOG2_E;
  const int count = (tokens + COUNT - 1) / COUNT;
  for (int step = 0; step < count; step++) {
    copies_done<0>();
    __syncthreads();
    if (step + 1 < count) fetch_step(step + 1);
    const Queries &here = steps[step % 2];
#pragma unroll 1
    for (int column = 0; column < COUNT / 16; column++) {
      const T *query_rows = here.first + column * 16 * S, *dy_rows = here.second + column * 16 * S;
      const float *log = here.logs + column * 16 + threadIdx.x % 4 * 2;
      const float *delta = here.deltas + column * 16 + threadIdx.x % 4 * 2;
      Sums p[TILES], ds[TILES];
      A<T> a[TILES];
      clear(p);
      multiply_rows<D>(p, own_k, query_rows);
#pragma unroll
      for (int m = 0; m < TILES; m++) {
#pragma unroll
        for (int i = 0; i < 8; i++) {
          float &x = p[m].at[i / 4][i % 4];
          x = exp2_fast(x * to_base_2 - log[i / 4 * 8 + i % 2]);
        }
        a[m] = as_a<T>(p[m]);
      }
      add_rows<D>(dv, a, dy_rows);
      clear(ds);
      multiply_rows<D>(ds, own_v, dy_rows);
#pragma unroll
      for (int m = 0; m < TILES; m++) {
#pragma unroll
        for (int i = 0; i < 8; i++) {
          float &x = ds[m].at[i / 4][i % 4];
          x = (x - delta[i / 4 * 8 + i % 2]) * p[m].at[i / 4][i % 4];
        }
        a[m] = as_a<T>(ds[m]);
      }
      add_rows<D>(dk, a, query_rows);
    }
  }

  const float scales[2] = {scale, scale}, ones[2] = {1, 1};
#pragma unroll
  for (int m = 0; m < TILES; m++) {
    store<D>(rows(dqkv, 3, 1, at, tokens, width), from + 16 * m, dk[m], scales);
    store<D>(rows(dqkv, 3, 2, at, tokens, width), from + 16 * m, dv[m], ones);
  }
}

} // namespace

KERNEL attention_space_sums_bf16(const bf16 *y, const bf16 *dy, const float *logs, float *sums, int tokens,
    int width) {
  sums_of(y, dy, logs, sums, tokens, width);
}
KERNEL __launch_bounds__(128, 2) attention_space_queries_32_bf16(const bf16 *qkv, const bf16 *dy, const float *sums,
    bf16 *dqkv, int tokens, int width, float scale) {
  queries_backward<bf16, 32>(qkv, dy, sums, dqkv, tokens, width, scale);
}
KERNEL __launch_bounds__(128, 2) attention_space_queries_64_bf16(const bf16 *qkv, const bf16 *dy, const float *sums,
    bf16 *dqkv, int tokens, int width, float scale) {
  queries_backward<bf16, 64>(qkv, dy, sums, dqkv, tokens, width, scale);
}
KERNEL __launch_bounds__(128, 2) attention_space_queries_128_bf16(const bf16 *qkv, const bf16 *dy, const float *sums,
    bf16 *dqkv, int tokens, int width, float scale) {
  queries_backward<bf16, 128>(qkv, dy, sums, dqkv, tokens, width, scale);
}
KERNEL __launch_bounds__(128, 2) attention_space_keys_32_bf16(const bf16 *qkv, const bf16 *dy, const float *sums,
    bf16 *dqkv, int tokens, int width, float scale) {
  keys_backward<bf16, 32>(qkv, dy, sums, dqkv, tokens, width, scale);
}
KERNEL __launch_bounds__(128, 2) attention_space_keys_64_bf16(const bf16 *qkv, const bf16 *dy, const float *sums,
    bf16 *dqkv, int tokens, int width, float scale) {
  keys_backward<bf16, 64>(qkv, dy, sums, dqkv, tokens, width, scale);
}
KERNEL __launch_bounds__(128, 2) attention_space_keys_128_bf16(const bf16 *qkv, const bf16 *dy, const float *sums,
    bf16 *dqkv, int tokens, int width, float scale) {
  keys_backward<bf16, 128>(qkv, dy, sums, dqkv, tokens, width, scale);
}
KERNEL attention_space_sums_f32(const float *y, const float *dy, const float *logs, float *sums, int tokens,
    int width) {
  sums_of(y, dy, logs, sums, tokens, width);
}
KERNEL __launch_bounds__(128, 2) attention_space_queries_32_f32(const float *qkv, const float *dy, const float *sums,
    float *dqkv, int tokens, int width, float scale) {
  queries_backward<float, 32>(qkv, dy, sums, dqkv, tokens, width, scale);
}
KERNEL __launch_bounds__(128, 2) attention_space_queries_64_f32(const float *qkv, const float *dy, const float *sums,
    float *dqkv, int tokens, int width, float scale) {
  queries_backward<float, 64>(qkv, dy, sums, dqkv, tokens, width, scale);
}
KERNEL __launch_bounds__(64, 2) attention_space_queries_128_f32(const float *qkv, const float *dy, const float *sums,
    float *dqkv, int tokens, int width, float scale) {
  queries_backward<float, 128>(qkv, dy, sums, dqkv, tokens, width, scale);
}
KERNEL __launch_bounds__(128, 2) attention_space_keys_32_f32(const float *qkv, const float *dy, const float *sums,
    float *dqkv, int tokens, int width, float scale) {
  keys_backward<float, 32>(qkv, dy, sums, dqkv, tokens, width, scale);
}
KERNEL __launch_bounds__(128, 2) attention_space_keys_64_f32(const float *qkv, const float *dy, const float *sums,
    float *dqkv, int tokens, int width, float scale) {
  keys_backward<float, 64>(qkv, dy, sums, dqkv, tokens, width, scale);
}
KERNEL __launch_bounds__(64, 2) attention_space_keys_128_f32(const float *qkv, const float *dy, const float *sums,
    float *dqkv, int tokens, int width, float scale) {
  keys_backward<float, 128>(qkv, dy, sums, dqkv, tokens, width, scale);
}
