// GroupNorm over tokens (Wu and He 2018; formulas in norm.rs): y = (x - mean) * scale * gain + bias with
// scale = 1 / sqrt(variance + epsilon), mean and variance of one item's group of channels over its tokens.
// x: (N, S, C) f32; y and dy: (N, S, C) f32 or bf16; gain, bias: (C); moments: (N, G) of (mean, scale).
//
// A group of one item has S rows of `width` numbers. Blocks are (chunk, group, item): a block has `chunk`
// neighbours of a group's numbers, or `part` of its tokens. What blocks find is summed by the next launch, in
// the blocks' order. Vectors of N numbers: four where a row of a group is so many times four, else one.
#include "device.cuh"

namespace {

constexpr int THREADS = 256;
constexpr int EACH = 16; // numbers of a chunk that a thread has at most
constexpr float EPSILON = 1e-5f;

template <class T, int N> struct alignas(N * sizeof(T)) Vector { T at[N]; };

template <int N, class T> DEVICE void load(const T *from, float (&to)[N]) {
  const Vector<T, N> vector = *reinterpret_cast<const Vector<T, N> *>(from);
#pragma unroll
  for (int n = 0; n < N; n++) to[n] = to_float(vector.at[n]);
}

template <int N, class T> DEVICE void store(T *to, const float (&from)[N]) {
  Vector<T, N> vector;
#pragma unroll
  for (int n = 0; n < N; n++) vector.at[n] = from_float<T>(from[n]);
  *reinterpret_cast<Vector<T, N> *>(to) = vector;
}

// This block's group of its item.
struct Group {
  unsigned channels, width, count;
  unsigned index;   // among all items' groups
  unsigned channel; // its first
  size_t first;     // place of its first number

  DEVICE Group(int tokens, int channels, int width)
      : channels(channels), width(width), count(unsigned(tokens) * width),
        index(blockIdx.z * gridDim.y + blockIdx.y), channel(blockIdx.y * width),
        first(blockIdx.z * size_t(tokens) * channels + channel) {}

  // Place of number i, channel i % width of token i / width.
  DEVICE size_t place(unsigned i) const { return first + i / width * size_t(channels) + i % width; }
};

// A chunk's numbers by threads: in round k a block's threads have neighbouring vectors.
template <int N> struct Chunk {
  static constexpr int ROUNDS = EACH / N;
  unsigned from, to;

  DEVICE Chunk(const Group &group, unsigned index, int size)
      : from(index * size), to(min(from + size, group.count)) {}

  DEVICE unsigned number(int round) const { return from + (round * THREADS + threadIdx.x) * N; }
  DEVICE bool has(int round) const { return number(round) < to; }
};

// Mean and squared differences from it of one chunk. A common offset costs no digits: numbers are taken less
// the group's first, and so is the mean.
template <int N> DEVICE void chunk_moments(const float *x, float2 *partial, const Group &group, int size) {
  __shared__ float sums[THREADS / 32];
  const Chunk<N> chunk(group, blockIdx.x, size);
  const float origin = x[group.first];
  float values[Chunk<N>::ROUNDS][N];
  float sum = 0, squares = 0;
#pragma unroll
  for (int k = 0; k < chunk.ROUNDS; k++) {
    if (!chunk.has(k)) continue;
    load(x + group.place(chunk.number(k)), values[k]);
#pragma unroll
    for (int n = 0; n < N; n++) sum += values[k][n] -= origin;
  }
  const float mean = block_sum(sum, sums) / (chunk.to - chunk.from);
#pragma unroll
  for (int k = 0; k < chunk.ROUNDS; k++) {
    if (!chunk.has(k)) continue;
#pragma unroll
    for (int n = 0; n < N; n++) squares += (values[k][n] - mean) * (values[k][n] - mean);
  }
  squares = block_sum(squares, sums);
  if (threadIdx.x == 0) partial[group.index * size_t(gridDim.x) + blockIdx.x] = make_float2(mean, squares);
}

// Mean and scale of a group from those of its chunks (Chan et al. 1983), by every warp for itself.
DEVICE float2 group_moments(const float *x, const float2 *partial, const Group &group, int size) {
  const unsigned chunks = gridDim.x, lane = threadIdx.x % 32;
  partial += group.index * size_t(chunks);
  const auto numbers = [&](unsigned chunk) { return float(min(group.count - chunk * size, unsigned(size))); };
  float sum = 0, squares = 0;
  for (unsigned chunk = lane; chunk < chunks; chunk += 32) sum += numbers(chunk) * partial[chunk].x;
  const float mean = warp_sum(sum) / group.count;
  for (unsigned chunk = lane; chunk < chunks; chunk += 32) {
    const float apart = partial[chunk].x - mean;
    squares += partial[chunk].y + numbers(chunk) * apart * apart;
  }
  return make_float2(x[group.first] + mean, 1.0f / sqrtf(warp_sum(squares) / group.count + EPSILON));
}

template <int N, class T>
DEVICE void normalize(const float *x, const float *gain, const float *bias, const float2 *partial, T *y,
                      float2 *moments, const Group &group, int size) {
  const Chunk<N> chunk(group, blockIdx.x, size);
  float values[Chunk<N>::ROUNDS][N];
#pragma unroll
  for (int k = 0; k < chunk.ROUNDS; k++) {
    if (chunk.has(k)) load(x + group.place(chunk.number(k)), values[k]);
  }
  const float2 found = group_moments(x, partial, group, size);
  if (blockIdx.x == 0 && threadIdx.x == 0) moments[group.index] = found;
#pragma unroll
  for (int k = 0; k < chunk.ROUNDS; k++) {
    if (!chunk.has(k)) continue;
    const unsigned channel = group.channel + chunk.number(k) % group.width;
    float gains[N], biases[N];
    load(gain + channel, gains);
    load(bias + channel, biases);
#pragma unroll
    for (int n = 0; n < N; n++) values[k][n] = (values[k][n] - found.x) * found.y * gains[n] + biases[n];
    store(y + group.place(chunk.number(k)), values[k]);
  }
}

// Sums K numbers of every thread over rows of threads, by halves; the first row's threads get the sums.
template <int K> DEVICE void sum_rows(float (&numbers)[K], int rows, int columns) {
  __shared__ float held[K][THREADS];
  const int row = threadIdx.x / columns;
  __syncthreads();
#pragma unroll
  for (int k = 0; k < K; k++) held[k][threadIdx.x] = numbers[k];
  int half = 1;
  while (2 * half < rows) half *= 2;
  for (; half > 0; half /= 2) {
    __syncthreads();
    if (row >= half || row + half >= rows) continue;
#pragma unroll
    for (int k = 0; k < K; k++) held[k][threadIdx.x] += held[k][threadIdx.x + half * columns];
  }
#pragma unroll
  for (int k = 0; k < K; k++) numbers[k] = held[k][threadIdx.x];
}

// Over a part of the tokens: for each channel the sums of dy * normal and of dy, (N, parts, 2, C); of each group
// the means' parts, sums of gain * dy and of gain * dy * normal, (N, G, parts, 2).
template <int N, class T>
DEVICE void backward_sums(const float *x, const T *dy, const float *gain, const float2 *moments, float *channel_sums,
                          float2 *group_sums, const Group &group, int tokens, int part) {
  __shared__ float partial[THREADS / 32];
  const int vectors = group.width / N, columns = min(vectors, THREADS), rows = THREADS / columns;
  const int row = threadIdx.x / columns, parts = gridDim.x;
  const int from = blockIdx.x * part, to = min(from + part, tokens);
  const float2 moment = moments[group.index];
  channel_sums += (blockIdx.z * size_t(parts) + blockIdx.x) * 2 * group.channels + group.channel;
  float slope = 0, slope_normal = 0;
  for (int begin = 0; begin < vectors; begin += columns) {
    const int vector = begin + threadIdx.x % columns;
    const bool mine = vector < vectors && row < rows;
    float sums[2 * N] = {};
#pragma unroll 4
    for (int token = from + row; mine && token < to; token += rows) {
      const size_t place = group.first + token * size_t(group.channels) + vector * N;
      float values[N], slopes[N];
      load(x + place, values);
      load(dy + place, slopes);
#pragma unroll
      for (int n = 0; n < N; n++) {
        sums[n] += slopes[n] * ((values[n] - moment.x) * moment.y);
        sums[N + n] += slopes[n];
      }
    }
    sum_rows(sums, rows, columns);
    if (row > 0 || !mine) continue;
#pragma unroll
    for (int n = 0; n < N; n++) {
      const float weight = gain[group.channel + vector * N + n];
      channel_sums[vector * N + n] = sums[n];
      channel_sums[group.channels + vector * N + n] = sums[N + n];
      slope += weight * sums[N + n];
      slope_normal += weight * sums[n];
    }
  }
  slope = block_sum(slope, partial);
  slope_normal = block_sum(slope_normal, partial);
  if (threadIdx.x == 0) group_sums[group.index * size_t(parts) + blockIdx.x] = make_float2(slope, slope_normal);
}

// dgain and dbias of a group's channels: the sums of all items' parts, `rows` in all.
DEVICE void weights_backward(const float *channel_sums, float *dgain, float *dbias, const Group &group, int rows) {
  const int sums = 2 * group.width, columns = min(sums, THREADS), together = THREADS / columns;
  const int row = threadIdx.x / columns;
  for (int begin = 0; begin < sums; begin += columns) {
    const int index = begin + threadIdx.x % columns, which = index / group.width;
    const int channel = group.channel + index % group.width;
    const bool mine = index < sums && row < together;
    float sum[1] = {};
#pragma unroll 8
    for (int r = row; mine && r < rows; r += together) {
      sum[0] += channel_sums[(2 * size_t(r) + which) * group.channels + channel];
    }
    sum_rows(sum, together, columns);
    if (row == 0 && mine) (which == 0 ? dgain : dbias)[channel] = sum[0];
  }
}

// dx = scale * (g - mean(g) - normal * mean(g * normal)) with g = gain * dy.
template <int N, class T>
DEVICE void inputs_backward(const float *x, const T *dy, const float *gain, const float2 *moments,
                            const float2 *group_sums, float *dx, const Group &group, int size, int parts) {
  const Chunk<N> chunk(group, blockIdx.x - 1, size);
  float values[Chunk<N>::ROUNDS][N], slopes[Chunk<N>::ROUNDS][N];
#pragma unroll
  for (int k = 0; k < chunk.ROUNDS; k++) {
    if (!chunk.has(k)) continue;
    const size_t place = group.place(chunk.number(k));
    load(x + place, values[k]);
    load(dy + place, slopes[k]);
  }
  float slope = 0, slope_normal = 0;
  for (int part = threadIdx.x % 32; part < parts; part += 32) {
    const float2 sums = group_sums[group.index * size_t(parts) + part];
    slope += sums.x;
    slope_normal += sums.y;
  }
  slope = warp_sum(slope) / group.count;
  slope_normal = warp_sum(slope_normal) / group.count;
  const float2 moment = moments[group.index];
#pragma unroll
  for (int k = 0; k < chunk.ROUNDS; k++) {
    if (!chunk.has(k)) continue;
    float gains[N];
    load(gain + group.channel + chunk.number(k) % group.width, gains);
#pragma unroll
    for (int n = 0; n < N; n++) {
      const float normal = (values[k][n] - moment.x) * moment.y;
      values[k][n] = moment.y * (slopes[k][n] * gains[n] - slope - normal * slope_normal);
    }
    store(dx + group.place(chunk.number(k)), values[k]);
  }
}

template <class T>
DEVICE void forward(const float *x, const float *gain, const float *bias, const float2 *partial, T *y,
                    float2 *moments, int tokens, int channels, int width, int chunk) {
  const Group group(tokens, channels, width);
  if (width % 4 == 0) {
    normalize<4>(x, gain, bias, partial, y, moments, group, chunk);
  } else {
    normalize<1>(x, gain, bias, partial, y, moments, group, chunk);
  }
}

template <class T>
DEVICE void sums(const float *x, const T *dy, const float *gain, const float2 *moments, float *channel_sums,
                 float2 *group_sums, int tokens, int channels, int width, int part) {
  const Group group(tokens, channels, width);
  if (width % 4 == 0) {
    backward_sums<4>(x, dy, gain, moments, channel_sums, group_sums, group, tokens, part);
  } else {
    backward_sums<1>(x, dy, gain, moments, channel_sums, group_sums, group, tokens, part);
  }
}

// The first block of each group finishes the gradients of its weights, the others have a chunk of dx.
template <class T>
DEVICE void backward(const float *x, const T *dy, const float *gain, const float2 *moments, const float *channel_sums,
                     const float2 *group_sums, float *dx, float *dgain, float *dbias, int tokens, int channels,
                     int width, int chunk, int parts) {
  const Group group(tokens, channels, width);
  if (blockIdx.x == 0) {
    if (blockIdx.z == 0) weights_backward(channel_sums, dgain, dbias, group, gridDim.z * parts);
  } else if (width % 4 == 0) {
    inputs_backward<4>(x, dy, gain, moments, group_sums, dx, group, chunk, parts);
  } else {
    inputs_backward<1>(x, dy, gain, moments, group_sums, dx, group, chunk, parts);
  }
}

} // namespace

KERNEL __launch_bounds__(256) group_norm_moments_f32(const float *x, float2 *partial, int tokens, int channels, int width, int chunk) {
  const Group group(tokens, channels, width);
  if (width % 4 == 0) {
    chunk_moments<4>(x, partial, group, chunk);
  } else {
    chunk_moments<1>(x, partial, group, chunk);
  }
}

KERNEL __launch_bounds__(256) group_norm_forward_f32(const float *x, const float *gain, const float *bias, const float2 *partial, float *y,
                                                     float2 *moments, int tokens, int channels, int width, int chunk) {
  forward(x, gain, bias, partial, y, moments, tokens, channels, width, chunk);
}
KERNEL __launch_bounds__(256) group_norm_forward_bf16(const float *x, const float *gain, const float *bias, const float2 *partial, bf16 *y,
                                                      float2 *moments, int tokens, int channels, int width, int chunk) {
  forward(x, gain, bias, partial, y, moments, tokens, channels, width, chunk);
}

KERNEL __launch_bounds__(256) group_norm_sums_f32(const float *x, const float *dy, const float *gain, const float2 *moments,
                                                  float *channel_sums, float2 *group_sums, int tokens, int channels, int width, int part) {
  sums(x, dy, gain, moments, channel_sums, group_sums, tokens, channels, width, part);
}
KERNEL __launch_bounds__(256) group_norm_sums_bf16(const float *x, const bf16 *dy, const float *gain, const float2 *moments,
                                                   float *channel_sums, float2 *group_sums, int tokens, int channels, int width, int part) {
  sums(x, dy, gain, moments, channel_sums, group_sums, tokens, channels, width, part);
}

KERNEL __launch_bounds__(256) group_norm_backward_f32(const float *x, const float *dy, const float *gain, const float2 *moments,
                                                      const float *channel_sums, const float2 *group_sums, float *dx, float *dgain,
                                                      float *dbias, int tokens, int channels, int width, int chunk, int parts) {
  backward(x, dy, gain, moments, channel_sums, group_sums, dx, dgain, dbias, tokens, channels, width, chunk, parts);
}
KERNEL __launch_bounds__(256) group_norm_backward_bf16(const float *x, const bf16 *dy, const float *gain, const float2 *moments,
                                                       const float *channel_sums, const float2 *group_sums, float *dx, float *dgain,
                                                       float *dbias, int tokens, int channels, int width, int chunk, int parts) {
  backward(x, dy, gain, moments, channel_sums, group_sums, dx, dgain, dbias, tokens, channels, width, chunk, parts);
}
