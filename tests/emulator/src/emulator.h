// Kernels by name, called with arguments as CUDA's driver takes them: a pointer to each.
#pragma once

#include "cuda.h"

#include <functional>
#include <map>
#include <string>
#include <utility>

namespace emulator {

void run(dim3 grid, unsigned threads, size_t shared, const std::function<void()> &body);

// False where the arguments' sizes are not those of the parameters.
using Call = std::function<bool(dim3, unsigned, size_t, void **, const size_t *, size_t)>;

struct Kernels {
  std::map<std::string, Call> named;
  void add(const char *name, Call call);
};

template <class... Parameters, size_t... I>
Call callable(void (*kernel)(Parameters...), std::index_sequence<I...>) {
  return [kernel](dim3 grid, unsigned threads, size_t shared, void **arguments, const size_t *sizes, size_t count) {
    const bool fits = count == sizeof...(Parameters) && (... && (sizes[I] == sizeof(Parameters)));
    if (!fits) return false;
    run(grid, threads, shared, [&] { kernel(*static_cast<Parameters *>(arguments[I])...); });
    return true;
  };
}

template <class... Parameters> Call callable(void (*kernel)(Parameters...)) {
  return callable(kernel, std::index_sequence_for<Parameters...>{});
}

// Written by the build script: all kernels of the project.
void register_kernels(Kernels &kernels);

} // namespace emulator
