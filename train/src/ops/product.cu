// d = op(a) op(b) + bias where cublasLt makes no such product: one thread for each number of d, so it is slow. As in
// product.rs, columns lie one after another, op(a) is m x k, op(b) is k x n, and the bias has a number for each row.
// Without a bias its address is null.
#include "device.cuh"

namespace {

// A factor whose columns begin `leading` numbers after one another, taken as it is or transposed.
template <class T> struct Factor {
  const T *at;
  size_t leading;
  int transposed;

  DEVICE float operator()(size_t row, size_t column) const {
    return to_float(at[transposed ? column + row * leading : row + column * leading]);
  }
};

template <class T, class R>
DEVICE void multiply(Factor<T> a, Factor<T> b, const R *bias, R *d, size_t m, size_t n, size_t k) {
  const size_t at = size_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= m * n) return;
  const size_t row = at % m, column = at / m;
  float sum = bias ? to_float(bias[row]) : 0;
  for (size_t i = 0; i < k; i++) sum += a(row, i) * b(i, column);
  d[at] = from_float<R>(sum);
}

} // namespace

KERNEL product_f32_f32(const float *a, size_t a_leading, int a_transposed, const float *b, size_t b_leading,
                       int b_transposed, const float *bias, float *d, size_t m, size_t n, size_t k) {
  multiply<float, float>({a, a_leading, a_transposed}, {b, b_leading, b_transposed}, bias, d, m, n, k);
}

KERNEL product_bf16_f32(const bf16 *a, size_t a_leading, int a_transposed, const bf16 *b, size_t b_leading,
                        int b_transposed, const float *bias, float *d, size_t m, size_t n, size_t k) {
  multiply<bf16, float>({a, a_leading, a_transposed}, {b, b_leading, b_transposed}, bias, d, m, n, k);
}

KERNEL product_bf16_bf16(const bf16 *a, size_t a_leading, int a_transposed, const bf16 *b, size_t b_leading,
                         int b_transposed, const bf16 *bias, bf16 *d, size_t m, size_t n, size_t k) {
  multiply<bf16, bf16>({a, a_leading, a_transposed}, {b, b_leading, b_transposed}, bias, d, m, n, k);
}
