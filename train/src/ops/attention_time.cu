// Attention over at most sixteen frames at each token: y = softmax(q kᵀ/√d + bias) v, and its gradients
// dv = Pᵀ dy, dS = P ∘ (dy vᵀ − δ) with δ = Σ P ∘ dy vᵀ of a row, dq = dS k/√d, dk = dSᵀ q/√d, dbias = Σ dS.
//
// qkv, dqkv: (T, M, 3, H, d) as [q | k | v]; y, dy: (T, M, H, d). The bias of a query and a key is a row of the
// table (32, H), in f32: their distance, and 16 more where the key is later. Where it is causal a frame sees no
// later one. A team of lanes, a power of two, has one head at one token, each lane sixteen
// bytes of the head's d numbers in all frames, in registers. Scores are summed over the team, so that each of its
// lanes has all weights of a query.
#include "device.cuh"

namespace {

constexpr float LOG2_E = 1.44269504f;
constexpr int THREADS = 128;

struct Extent {
  int frames, tokens, heads, width;
  bool causal;
};

// What a lane has: numbers of one head at one token.
struct Place {
  Extent extent;
  int token, head;
  int from; // the first of its numbers
  int left; // numbers of the head from there on; none where there is no such token
  int lanes; // of a team

  DEVICE Place(const Extent &extent, int token, int head, int lanes, int numbers)
      : extent(extent), token(token), head(head), from(threadIdx.x % lanes * numbers),
        left(token < extent.tokens ? max(extent.width - from, 0) : 0), lanes(lanes) {}

  DEVICE size_t plain(int frame) const {
    const size_t row = size_t(frame) * extent.tokens + token;
    return (row * extent.heads + head) * extent.width + from;
  }

  DEVICE size_t packed(int frame, int role) const {
    const size_t row = size_t(frame) * extent.tokens + token;
    return ((row * 3 + role) * extent.heads + head) * extent.width + from;
  }

  DEVICE float scale() const { return rsqrtf(float(extent.width)); }
};

enum Role { QUERY, KEY, VALUE };

// Row of the table of biases.
DEVICE int distance(int query, int key) { return key <= query ? query - key : 16 + key - query; }

// Four registers of numbers as they are stored: four f32, or four pairs of bf16 with the first in the low half.
DEVICE void unpack(const uint4 &stored, float (&x)[4]) {
  x[0] = __uint_as_float(stored.x);
  x[1] = __uint_as_float(stored.y);
  x[2] = __uint_as_float(stored.z);
  x[3] = __uint_as_float(stored.w);
}

DEVICE void unpack(const uint4 &stored, float (&x)[8]) {
  uint32_t pairs[4] = {stored.x, stored.y, stored.z, stored.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
#ifdef __CUDACC__
    // Here and not before the loop that this is called in: there would not be registers for all.
    asm volatile("" : "+r"(pairs[i]));
#endif
    x[2 * i] = __uint_as_float(pairs[i] << 16);
    x[2 * i + 1] = __uint_as_float(pairs[i] & 0xffff0000u);
  }
}

// A lane's numbers in all frames, as they are stored; zeros where there are none.
template <class T, int FRAMES> struct Rows {
  static constexpr int N = Pack<T>::N;
  uint4 rows[FRAMES];

  DEVICE void put(int frame, const T *p, int left) {
    if (left >= N && aligned(p)) {
      rows[frame] = *reinterpret_cast<const uint4 *>(p);
      return;
    }
    Pack<T> row;
#pragma unroll
    for (int i = 0; i < N; i++) row.at[i] = i < left ? p[i] : from_float<T>(0);
    memcpy(&rows[frame], &row, sizeof row);
  }

  DEVICE float dot(int frame, const float (&x)[N]) const {
    float row[N], sum = 0;
    unpack(rows[frame], row);
#pragma unroll
    for (int i = 0; i < N; i++) sum += row[i] * x[i];
    return sum;
  }

  // sums += by · row
  DEVICE void add(int frame, float by, float (&sums)[N]) const {
    float row[N];
    unpack(rows[frame], row);
#pragma unroll
    for (int i = 0; i < N; i++) sums[i] += by * row[i];
  }
};

template <class T, int FRAMES> DEVICE Rows<T, FRAMES> packed_rows(const T *qkv, const Place &place, Role role) {
  Rows<T, FRAMES> rows;
#pragma unroll
  for (int frame = 0; frame < FRAMES; frame++) {
    rows.put(frame, qkv + place.packed(frame, role), frame < place.extent.frames ? place.left : 0);
  }
  return rows;
}

template <int COUNT> DEVICE void team_sum(float (&x)[COUNT], int lanes) {
  for (int apart = lanes / 2; apart > 0; apart /= 2) {
#pragma unroll
    for (int i = 0; i < COUNT; i++) x[i] += __shfl_xor_sync(ALL_LANES, x[i], apart);
  }
}

// Scores of a query with all keys.
template <class T, int FRAMES>
DEVICE void products(const Rows<T, FRAMES> &rows, const float (&x)[Pack<T>::N], int lanes, float (&sums)[FRAMES]) {
#pragma unroll
  for (int frame = 0; frame < FRAMES; frame++) sums[frame] = rows.dot(frame, x);
  team_sum(sums, lanes);
}

// A query's products with the keys become its weights.
template <int FRAMES> DEVICE void soften(float (&weights)[FRAMES], int query, const float *table, const Place &place) {
  const Extent &extent = place.extent;
  const int seen = extent.causal ? query + 1 : extent.frames;
  const float scale = place.scale(), *bias = table + place.head;
  float most = -INFINITY, total = 0;
#pragma unroll
  for (int key = 0; key < FRAMES; key++) {
    weights[key] = key < seen ? scale * weights[key] + bias[distance(query, key) * extent.heads] : -INFINITY;
    most = fmaxf(most, weights[key]);
  }
#pragma unroll
  for (int key = 0; key < FRAMES; key++) {
    weights[key] = exp2_fast(LOG2_E * (weights[key] - most));
    total += weights[key];
  }
#pragma unroll
  for (float &weight : weights) weight /= total;
}

template <class T, int FRAMES>
DEVICE void attention(const T *qkv, const float *table, T *y, const Extent &extent, int lanes) {
  constexpr int N = Pack<T>::N;
  const int team = (blockIdx.x * THREADS + threadIdx.x) / lanes;
  const Place place(extent, team / extent.heads, team % extent.heads, lanes, N);
  const auto keys = packed_rows<T, FRAMES>(qkv, place, KEY);
  const auto values = packed_rows<T, FRAMES>(qkv, place, VALUE);
  for (int query = 0; query < extent.frames; query++) {
    float q[N], weights[FRAMES], sums[N] = {};
    load(q, qkv + place.packed(query, QUERY), place.left);
    products(keys, q, lanes, weights);
    soften(weights, query, table, place);
#pragma unroll
    for (int key = 0; key < FRAMES; key++) values.add(key, weights[key], sums);
    store(y + place.plain(query), sums, place.left);
  }
}

// dq, and into shared memory the weights P and the slopes dS, both (T, T).
template <class T, int FRAMES>
DEVICE void by_queries(const T *qkv, const float *table, const T *dy, T *dqkv, const Place &place, float *shared_weights,
                       float *shared_slopes) {
  constexpr int N = Pack<T>::N;
  const int frames = place.extent.frames;
  const auto keys = packed_rows<T, FRAMES>(qkv, place, KEY);
  const auto values = packed_rows<T, FRAMES>(qkv, place, VALUE);
  for (int query = 0; query < frames; query++) {
    float q[N], dq[N] = {}, slope_y[N], weights[FRAMES], slopes[FRAMES], delta = 0;
    load(q, qkv + place.packed(query, QUERY), place.left);
    load(slope_y, dy + place.plain(query), place.left);
    products(keys, q, place.lanes, weights);
    soften(weights, query, table, place);
    products(values, slope_y, place.lanes, slopes);
#pragma unroll
    for (int key = 0; key < FRAMES; key++) delta += weights[key] * slopes[key];
#pragma unroll
    for (int key = 0; key < FRAMES; key++) {
      slopes[key] = weights[key] * (slopes[key] - delta);
      keys.add(key, place.scale() * slopes[key], dq);
      if (key < frames && place.from == 0) {
        shared_weights[query * frames + key] = weights[key];
        shared_slopes[query * frames + key] = slopes[key];
      }
    }
    store(dqkv + place.packed(query, QUERY), dq, place.left);
  }
}

// dk and dv from the weights and the slopes.
template <class T, int FRAMES>
DEVICE void by_keys(const T *qkv, const T *dy, T *dqkv, const Place &place, const float *shared_weights,
                    const float *shared_slopes) {
  constexpr int N = Pack<T>::N;
  const int frames = place.extent.frames;
  const auto queries = packed_rows<T, FRAMES>(qkv, place, QUERY);
  Rows<T, FRAMES> slopes_y;
#pragma unroll
  for (int frame = 0; frame < FRAMES; frame++) {
    slopes_y.put(frame, dy + place.plain(frame), frame < frames ? place.left : 0);
  }
  for (int key = 0; key < frames; key++) {
    float dk[N] = {}, dv[N] = {};
#pragma unroll
    for (int query = 0; query < FRAMES; query++) {
      if (query >= frames) break;
      queries.add(query, place.scale() * shared_slopes[query * frames + key], dk);
      slopes_y.add(query, shared_weights[query * frames + key], dv);
    }
    store(dqkv + place.packed(key, KEY), dk, place.left);
    store(dqkv + place.packed(key, VALUE), dv, place.left);
  }
}

// A block has `block_tokens` tokens of the head blockIdx.y, a team one after the other, and adds their slopes to
// one partial sum of the bias's gradient. partial: (H, T, T, blocks).
template <class T, int FRAMES>
DEVICE void attention_backward(const T *qkv, const float *table, const T *dy, T *dqkv, float *partial,
                               const Extent &extent, int lanes, int block_tokens) {
  constexpr int OWN = (FRAMES * FRAMES + THREADS - 1) / THREADS;
  DYNAMIC_SHARED(float, shared);
  const int teams = THREADS / lanes, team = threadIdx.x / lanes, pairs = extent.frames * extent.frames;
  float *weights = shared, *slopes = shared + teams * pairs;
  float sums[OWN] = {};
  for (int first = 0; first < block_tokens; first += teams) {
    const int token = blockIdx.x * block_tokens + first + team;
    const Place place(extent, token, blockIdx.y, lanes, Pack<T>::N);
    by_queries<T, FRAMES>(qkv, table, dy, dqkv, place, weights + team * pairs, slopes + team * pairs);
    __syncwarp();
    by_keys<T, FRAMES>(qkv, dy, dqkv, place, weights + team * pairs, slopes + team * pairs);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < OWN; i++) {
      const int pair = threadIdx.x + i * THREADS;
      for (int t = 0; t < teams && pair < pairs; t++) sums[i] += slopes[t * pairs + pair];
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < OWN; i++) {
    const int pair = threadIdx.x + i * THREADS;
    if (pair < pairs) partial[(size_t(blockIdx.y) * pairs + pair) * gridDim.x + blockIdx.x] = sums[i];
  }
}

} // namespace

KERNEL __launch_bounds__(128) attention_time_forward_8_f32(const float *qkv, const float *table, float *y, int frames, int tokens,
                                                   int heads, int width, int causal, int lanes) {
  attention<float, 8>(qkv, table, y, {frames, tokens, heads, width, causal != 0}, lanes);
}

KERNEL __launch_bounds__(128) attention_time_forward_8_bf16(const bf16 *qkv, const float *table, bf16 *y, int frames, int tokens,
                                                    int heads, int width, int causal, int lanes) {
  attention<bf16, 8>(qkv, table, y, {frames, tokens, heads, width, causal != 0}, lanes);
}

KERNEL __launch_bounds__(128) attention_time_forward_16_f32(const float *qkv, const float *table, float *y, int frames,
                                                    int tokens, int heads, int width, int causal, int lanes) {
  attention<float, 16>(qkv, table, y, {frames, tokens, heads, width, causal != 0}, lanes);
}

KERNEL __launch_bounds__(128) attention_time_forward_16_bf16(const bf16 *qkv, const float *table, bf16 *y, int frames,
                                                     int tokens, int heads, int width, int causal, int lanes) {
  attention<bf16, 16>(qkv, table, y, {frames, tokens, heads, width, causal != 0}, lanes);
}

KERNEL __launch_bounds__(128, 3)
    attention_time_backward_8_f32(const float *qkv, const float *table, const float *dy, float *dqkv, float *partial,
                                  int frames, int tokens, int heads, int width, int causal, int lanes,
                                  int block_tokens) {
  attention_backward<float, 8>(qkv, table, dy, dqkv, partial, {frames, tokens, heads, width, causal != 0}, lanes,
                               block_tokens);
}

KERNEL __launch_bounds__(128, 3)
    attention_time_backward_8_bf16(const bf16 *qkv, const float *table, const bf16 *dy, bf16 *dqkv, float *partial,
                                   int frames, int tokens, int heads, int width, int causal, int lanes,
                                   int block_tokens) {
  attention_backward<bf16, 8>(qkv, table, dy, dqkv, partial, {frames, tokens, heads, width, causal != 0}, lanes,
                              block_tokens);
}

KERNEL __launch_bounds__(128)
    attention_time_backward_16_f32(const float *qkv, const float *table, const float *dy, float *dqkv, float *partial,
                                   int frames, int tokens, int heads, int width, int causal, int lanes,
                                   int block_tokens) {
  attention_backward<float, 16>(qkv, table, dy, dqkv, partial, {frames, tokens, heads, width, causal != 0}, lanes,
                                block_tokens);
}

KERNEL __launch_bounds__(128)
    attention_time_backward_16_bf16(const bf16 *qkv, const float *table, const bf16 *dy, bf16 *dqkv, float *partial,
                                    int frames, int tokens, int heads, int width, int causal, int lanes,
                                    int block_tokens) {
  attention_backward<bf16, 16>(qkv, table, dy, dqkv, partial, {frames, tokens, heads, width, causal != 0}, lanes,
                               block_tokens);
}

// dtable, (rows for the past and as many for the future, heads): a warp adds the partial sums of one number.
KERNEL attention_time_table_f32(const float *partial, float *dtable, int frames, int heads, int rows, int blocks) {
  const int place = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
  const int row = place / heads, head = place % heads;
  float sum = 0;
  for (int pair = 0; pair < frames * frames && row < 2 * rows; pair++) {
    if (distance(pair / frames, pair % frames) != row) continue;
    const float *parts = partial + (size_t(head) * frames * frames + pair) * blocks;
    for (int i = lane; i < blocks; i += 32) sum += parts[i];
  }
  sum = warp_sum(sum);
  if (lane == 0 && row < 2 * rows) dtable[place] = sum;
}
