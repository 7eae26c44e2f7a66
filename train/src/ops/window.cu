// A window onto a grid, and its gradient. Both a gather: a thread computes up to sixteen bytes of one cell's
// channels, so that no sum depends on the order of threads.
//
// x (items, *cells, channels) → y (items, *length, channels): cell o of y is cell o + from of x along each axis;
// beyond x's ends lies the other end, the cell at the edge, or zeros. Backward: dx at a cell is the sum of dy over
// all cells that show it. Three axes, the slowest first. blockIdx.y is the item.
#include "device.cuh"

namespace {

enum Beyond { AROUND, EDGE, ZEROS };

struct View {
  int cells, from, length, beyond;

  // The cell of x at a cell of y, or one that x does not have where there are zeros.
  DEVICE int source(int cell) const {
    const int at = cell + from;
    if (beyond == AROUND) return (at % cells + cells) % cells;
    if (beyond == EDGE) return min(max(at, 0), cells - 1);
    return at;
  }

  // The cells of y that show a cell of x: from `first` to `last` by steps.
  DEVICE void shown(int cell, int &first, int &last, int &step) const {
    const int at = cell - from;
    first = at;
    last = at;
    step = 1;
    if (beyond == AROUND) {
      first = (at % cells + cells) % cells;
      last = length - 1;
      step = cells;
    } else if (beyond == EDGE) {
      if (cell == 0) first = 0;
      if (cell == cells - 1) last = length - 1;
    }
    first = max(first, 0);
    last = min(last, length - 1);
  }
};

// The place along three axes of an index.
DEVICE void unravel(unsigned index, int e0, int e1, int e2, int (&place)[3]) {
  place[2] = index % e2;
  place[1] = index / e2 % e1;
  place[0] = index / e2 / e1 % e0;
}

template <class T> DEVICE void forward(const T *x, T *y, int channels, const View (&views)[3]) {
  constexpr int N = Pack<T>::N;
  const unsigned parts = (channels + N - 1) / N, index = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned cells = unsigned(views[0].length) * views[1].length * views[2].length;
  const unsigned cell = index / parts, channel = index % parts * N;
  if (cell >= cells) return;
  int place[3];
  unravel(cell, views[0].length, views[1].length, views[2].length, place);
  size_t from = blockIdx.y;
  bool there = true;
#pragma unroll
  for (int axis = 0; axis < 3; axis++) {
    const int source = views[axis].source(place[axis]);
    there = there && source >= 0 && source < views[axis].cells;
    from = from * views[axis].cells + source;
  }
  float values[N];
  load(values, x + from * channels + channel, there ? channels - channel : 0);
  store(y + (size_t(blockIdx.y) * cells + cell) * channels + channel, values, channels - channel);
}

template <class T> DEVICE void backward(const T *dy, T *dx, int channels, const View (&views)[3]) {
  constexpr int N = Pack<T>::N;
  const unsigned parts = (channels + N - 1) / N, index = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned cells = unsigned(views[0].cells) * views[1].cells * views[2].cells;
  const unsigned cell = index / parts, channel = index % parts * N;
  if (cell >= cells) return;
  int place[3], first[3], last[3], step[3];
  unravel(cell, views[0].cells, views[1].cells, views[2].cells, place);
#pragma unroll
  for (int axis = 0; axis < 3; axis++) views[axis].shown(place[axis], first[axis], last[axis], step[axis]);
  float sums[N] = {};
  for (int i = first[0]; i <= last[0]; i += step[0]) {
    for (int j = first[1]; j <= last[1]; j += step[1]) {
      for (int k = first[2]; k <= last[2]; k += step[2]) {
        const size_t row = ((size_t(blockIdx.y) * views[0].length + i) * views[1].length + j) * views[2].length + k;
        float slopes[N];
        load(slopes, dy + row * channels + channel, channels - channel);
#pragma unroll
        for (int c = 0; c < N; c++) sums[c] += slopes[c];
      }
    }
  }
  store(dx + (size_t(blockIdx.y) * cells + cell) * channels + channel, sums, channels - channel);
}

} // namespace

KERNEL window_forward_f32(const float *x, float *y, int channels, int n0, int n1, int n2, int f0, int f1, int f2,
                          int l0, int l1, int l2, int b0, int b1, int b2) {
  forward(x, y, channels, {{n0, f0, l0, b0}, {n1, f1, l1, b1}, {n2, f2, l2, b2}});
}

KERNEL window_forward_bf16(const bf16 *x, bf16 *y, int channels, int n0, int n1, int n2, int f0, int f1, int f2,
                           int l0, int l1, int l2, int b0, int b1, int b2) {
  forward(x, y, channels, {{n0, f0, l0, b0}, {n1, f1, l1, b1}, {n2, f2, l2, b2}});
}

KERNEL window_backward_f32(const float *dy, float *dx, int channels, int n0, int n1, int n2, int f0, int f1, int f2,
                           int l0, int l1, int l2, int b0, int b1, int b2) {
  backward(dy, dx, channels, {{n0, f0, l0, b0}, {n1, f1, l1, b1}, {n2, f2, l2, b2}});
}

KERNEL window_backward_bf16(const bf16 *dy, bf16 *dx, int channels, int n0, int n1, int n2, int f0, int f1, int f2,
                            int l0, int l1, int l2, int b0, int b1, int b2) {
  backward(dy, dx, channels, {{n0, f0, l0, b0}, {n1, f1, l1, b1}, {n2, f2, l2, b2}});
}
