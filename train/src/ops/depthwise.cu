// A convolution of each channel by a kernel of its own, which moves by one cell (formulas in depthwise.rs), in f32.
// x (items, *space, channels), w (*kernel, channels), b (channels) → y (items, *grid, channels).
//
// y and dx are gathers: a thread computes up to four channels of one place. dw is a sum over all places: blocks have
// `chunk` of them each, and what they find is summed by the next launch, in the blocks' order.
#include "extents.cuh"

namespace {

constexpr int THREADS = 256;
constexpr int N = 4; // channels of a thread

struct Sizes {
  int space[3], kernel[3], grid[3];
};

// A thread's place on a grid of one item, which is blockIdx.y, and the first of its channels.
struct Place {
  int at[3];
  unsigned channel, left;
  size_t number; // of the first channel, among all items'
  bool there;

  DEVICE Place(const int (&extent)[3], int channels) {
    const unsigned parts = (channels + N - 1) / N, index = blockIdx.x * blockDim.x + threadIdx.x;
    channel = index % parts * N;
    left = channels - channel;
    there = index / parts < volume(extent);
    unravel(index / parts, extent, at);
    number = (size_t(blockIdx.y) * volume(extent) + index / parts) * channels + channel;
  }
};

// Adds the products of four channels.
DEVICE void add_product(float (&sums)[N], const float *x, const float *w, unsigned left) {
  float values[N], weights[N];
  load(values, x, left);
  load(weights, w, left);
#pragma unroll
  for (int n = 0; n < N; n++) sums[n] += values[n] * weights[n];
}

DEVICE void convolve(const float *x, const float *w, const float *b, float *y, int channels, const Sizes &sizes) {
  const Place place(sizes.grid, channels);
  if (!place.there) return;
  float sums[N];
  load(sums, b + place.channel, place.left);
  int k[3];
  for (k[0] = 0; k[0] < sizes.kernel[0]; k[0]++) {
    for (k[1] = 0; k[1] < sizes.kernel[1]; k[1]++) {
      for (k[2] = 0; k[2] < sizes.kernel[2]; k[2]++) {
        const int cell[3] = {place.at[0] + k[0], place.at[1] + k[1], place.at[2] + k[2]};
        add_product(sums, x + ravel(blockIdx.y, sizes.space, cell) * channels + place.channel,
                    w + ravel(0, sizes.kernel, k) * channels + place.channel, place.left);
      }
    }
  }
  store(y + place.number, sums, place.left);
}

DEVICE void input_gradient(const float *dy, const float *w, float *dx, int channels, const Sizes &sizes) {
  const Place place(sizes.space, channels);
  if (!place.there) return;
  // The kernel's cells that cover this one from some place of the grid.
  int first[3], last[3], k[3];
#pragma unroll
  for (int axis = 0; axis < 3; axis++) {
    first[axis] = max(0, place.at[axis] - sizes.grid[axis] + 1);
    last[axis] = min(sizes.kernel[axis] - 1, place.at[axis]);
  }
  float sums[N] = {};
  for (k[0] = first[0]; k[0] <= last[0]; k[0]++) {
    for (k[1] = first[1]; k[1] <= last[1]; k[1]++) {
      for (k[2] = first[2]; k[2] <= last[2]; k[2]++) {
        const int from[3] = {place.at[0] - k[0], place.at[1] - k[1], place.at[2] - k[2]};
        add_product(sums, dy + ravel(blockIdx.y, sizes.grid, from) * channels + place.channel,
                    w + ravel(0, sizes.kernel, k) * channels + place.channel, place.left);
      }
    }
  }
  store(dx + place.number, sums, place.left);
}

// What a block's places add to the weights of the kernel's cell blockIdx.y or, beyond the last cell, to the biases:
// partial (chunks, cells + 1, channels). Threads are rows of neighbouring channels.
DEVICE void weight_sums(const float *x, const float *dy, float *partial, int channels, int items, int chunk,
                        const Sizes &sizes) {
  __shared__ float held[THREADS];
  const unsigned columns = min(channels, THREADS), rows = THREADS / columns;
  const unsigned row = threadIdx.x / columns, column = threadIdx.x % columns;
  const unsigned places = volume(sizes.grid), cells = volume(sizes.kernel);
  const unsigned from = blockIdx.x * chunk, to = min(from + chunk, items * places);
  int k[3];
  unravel(blockIdx.y, sizes.kernel, k);
  for (unsigned first = 0; first < unsigned(channels); first += columns) {
    const unsigned channel = first + column;
    const bool busy = row < rows && channel < unsigned(channels);
    float sum = 0;
    for (unsigned place = from + row; busy && place < to; place += rows) {
      const float slope = dy[size_t(place) * channels + channel];
      if (blockIdx.y == cells) {
        sum += slope;
        continue;
      }
      int cell[3];
      unravel(place % places, sizes.grid, cell);
#pragma unroll
      for (int axis = 0; axis < 3; axis++) cell[axis] += k[axis];
      sum += slope * x[ravel(place / places, sizes.space, cell) * channels + channel];
    }
    held[threadIdx.x] = sum;
    __syncthreads();
    if (busy && row == 0) {
      for (unsigned other = 1; other < rows; other++) sum += held[other * columns + column];
      partial[(size_t(blockIdx.x) * (cells + 1) + blockIdx.y) * channels + channel] = sum;
    }
    __syncthreads();
  }
}

// Sums what blocks have found: dw (weights) and db (count - weights).
DEVICE void weight_gradients(const float *partial, float *dw, float *db, int weights, int count, int chunks) {
  const int index = blockIdx.x * blockDim.x + threadIdx.x;
  if (index >= count) return;
  float sum = 0;
  for (int chunk = 0; chunk < chunks; chunk++) sum += partial[size_t(chunk) * count + index];
  if (index < weights) dw[index] = sum;
  else db[index - weights] = sum;
}

} // namespace

KERNEL depthwise_forward_f32(const float *x, const float *w, const float *b, float *y, int channels, int s0, int s1,
                             int s2, int k0, int k1, int k2, int g0, int g1, int g2) {
  convolve(x, w, b, y, channels, {{s0, s1, s2}, {k0, k1, k2}, {g0, g1, g2}});
}

KERNEL depthwise_input_f32(const float *dy, const float *w, float *dx, int channels, int s0, int s1, int s2, int k0,
                           int k1, int k2, int g0, int g1, int g2) {
  input_gradient(dy, w, dx, channels, {{s0, s1, s2}, {k0, k1, k2}, {g0, g1, g2}});
}

KERNEL depthwise_sums_f32(const float *x, const float *dy, float *partial, int channels, int items, int chunk, int s0,
                          int s1, int s2, int k0, int k1, int k2, int g0, int g1, int g2) {
  weight_sums(x, dy, partial, channels, items, chunk, {{s0, s1, s2}, {k0, k1, k2}, {g0, g1, g2}});
}

KERNEL depthwise_weights_f32(const float *partial, float *dw, float *db, int weights, int count, int chunks) {
  weight_gradients(partial, dw, db, weights, count, chunks);
}
