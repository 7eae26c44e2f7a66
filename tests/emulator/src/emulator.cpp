// Runs CUDA kernels on a CPU, a block at a time. Each CUDA thread is a fiber with its own stack; a barrier,
// a shuffle or a product on tensor cores is a place where fibers wait for one another.
//
// To find what a GPU would forgive only sometimes: shared memory is filled with NaN before every block, the
// fibers start in a shuffled order, asynchronous copies arrive as late as allowed, and a barrier that some
// threads never reach ends the program; so does an address that is no multiple of what its type asks for. With -fsanitize=thread and EMULATOR_RACES a fiber is a thread in the
// sanitizer's eyes that only barriers and exchanges put in order, so a missing barrier is a reported race.
#include "emulator.h"

#include <cstdio>
#include <random>
#include <string>
#include <vector>

#ifdef EMULATOR_RACES
extern "C" {
void *__tsan_get_current_fiber(void);
void *__tsan_create_fiber(unsigned flags);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
void __tsan_acquire(void *address);
void __tsan_release(void *address);
void __tsan_read16(void *address);
void __tsan_write16(void *address);
}
#else
static void *__tsan_get_current_fiber() { return nullptr; }
static void *__tsan_create_fiber(unsigned) { return nullptr; }
static void __tsan_switch_to_fiber(void *, unsigned) {}
static void __tsan_acquire(void *) {}
static void __tsan_release(void *) {}
static void __tsan_read16(void *) {}
static void __tsan_write16(void *) {}
#endif

// Leaves the registers that a call must keep on the old stack and takes them from the new one (System V, x86-64).
extern "C" void emulator_switch(void **from, void *to);
asm(R"(
.text
.globl emulator_switch
.type emulator_switch, @function
emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulator_switch, . - emulator_switch
)");

namespace emulator {

Running running;

namespace {

constexpr size_t STACK = 512 << 10;

struct Copy {
  void *to;
  const void *from;
  bool valid;
  unsigned group;
};

struct Fiber {
  void *stack_pointer = nullptr;
  void *sanitizer = nullptr;
  char *stack = nullptr;
  bool done = false;
  dim3 thread;
  std::vector<Copy> copies;
  unsigned group = 0;
};

// Where `count` threads wait for one another, again and again.
struct Barrier {
  unsigned arrived = 0;
  uint64_t round = 0;
  char order[2];
};

struct Warp {
  Barrier barrier;
  uint64_t slots[32][6];
};

std::vector<Fiber> fibers;
std::vector<Warp> warps;
Barrier block_barrier;
// A block's threads come after its start and before its end, and are in no order among one another.
char block_start, block_end;
void *scheduler_stack;
void *scheduler_sanitizer;
const std::function<void()> *kernel;
const char *kernel_name = "";
Fiber *current;
// Counts arrivals and ends; when a round of all fibers adds none, they wait for ever.
uint64_t progress;

void to_scheduler() {
  Fiber *fiber = current;
  __tsan_switch_to_fiber(scheduler_sanitizer, 1);
  emulator_switch(&fiber->stack_pointer, scheduler_stack);
}

void fiber_main() {
  __tsan_acquire(&block_start);
  (*kernel)();
  copies_done(0);
  __tsan_release(&block_end);
  current->done = true;
  progress++;
  to_scheduler();
  std::abort();
}

void meet(Barrier &barrier, unsigned count) {
  const uint64_t round = barrier.round;
  __tsan_release(&barrier.order[round % 2]);
  progress++;
  if (++barrier.arrived == count) {
    barrier.arrived = 0;
    barrier.round++;
  } else {
    while (barrier.round == round) to_scheduler();
  }
  __tsan_acquire(&barrier.order[round % 2]);
}

bool multiple_of_16(const void *p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

[[noreturn]] void refuse(const char *what, const void *address, size_t bytes) {
  std::fprintf(stderr, "emulator: %s: %s at %p is not aligned to %zu bytes\n", kernel_name, what, address, bytes);
  std::abort();
}

Warp &warp() { return warps[running.index / 32]; }

unsigned warp_size() { return std::min(32u, running.threads - running.index / 32 * 32); }

float bf16_at(uint64_t slot, unsigned half) { return __bfloat162float({uint16_t(slot >> (16 * half))}); }

float tf32(uint64_t slot) { return __uint_as_float(uint32_t(slot) & 0xffffe000u); }

// Tensor cores drop the digits of a sum that f32 does not hold: they do not round to the nearest.
float toward_zero(double x) {
  const float nearest = float(x);
  return std::fabs(double(nearest)) > std::fabs(x) ? std::nextafter(nearest, 0.0f) : nearest;
}

// Every lane's registers of a product: four of a, two of b.
template <class Product>
void meet_for_product(const uint32_t (&a)[4], const uint32_t (&b)[2], const Product &product) {
  uint64_t(&slots)[32][6] = warp().slots;
  for (int i = 0; i < 4; i++) slots[lane()][i] = a[i];
  for (int i = 0; i < 2; i++) slots[lane()][4 + i] = b[i];
  meet_warp();
  product(slots);
  meet_warp();
}

void start(Fiber &fiber) {
  fiber.done = false;
  fiber.copies.clear();
  fiber.group = 0;
  void **top = reinterpret_cast<void **>(fiber.stack + STACK - 64);
  *--top = nullptr;
  *--top = reinterpret_cast<void *>(&fiber_main);
  for (int i = 0; i < 6; i++) *--top = nullptr;
  fiber.stack_pointer = top;
}

void run_block(const std::vector<unsigned> &order) {
  for (unsigned left = order.size(); left > 0;) {
    const uint64_t before = progress;
    left = 0;
    for (unsigned index : order) {
      Fiber &fiber = fibers[index];
      if (fiber.done) continue;
      current = &fiber;
      running.thread = fiber.thread;
      running.index = index;
      __tsan_switch_to_fiber(fiber.sanitizer, 1);
      emulator_switch(&scheduler_stack, fiber.stack_pointer);
      left += !fiber.done;
    }
    if (left > 0 && progress == before) {
      std::fprintf(stderr, "emulator: %u threads wait at a barrier that others never reach\n", left);
      std::abort();
    }
  }
}

} // namespace

void meet_block() { meet(block_barrier, running.threads); }

void meet_warp() { meet(warp().barrier, warp_size()); }

uint64_t exchange(uint64_t value, unsigned from) {
  Warp &mine = warp();
  mine.slots[lane()][0] = value;
  meet_warp();
  const uint64_t found = mine.slots[from % warp_size()][0];
  meet_warp();
  return found;
}

void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  meet_for_product(a, b, [&](const uint64_t(&slots)[32][6]) {
    for (int i = 0; i < 4; i++) {
      const unsigned row = lane() / 4 + i / 2 * 8, column = lane() % 4 * 2 + i % 2;
      double sum = d[i];
      for (unsigned k = 0; k < 16; k++) {
        const double x = bf16_at(slots[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2], k % 2);
        sum += x * bf16_at(slots[column * 4 + k % 8 / 2][4 + k / 8], k % 2);
      }
      d[i] = toward_zero(sum);
    }
  });
}

void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  meet_for_product(a, b, [&](const uint64_t(&slots)[32][6]) {
    for (int i = 0; i < 4; i++) {
      const unsigned row = lane() / 4 + i / 2 * 8, column = lane() % 4 * 2 + i % 2;
      double sum = d[i];
      for (unsigned k = 0; k < 8; k++) {
        const double x = tf32(slots[row % 8 * 4 + k % 4][row / 8 + k / 4 * 2]);
        sum += x * tf32(slots[column * 4 + k % 4][4 + k / 4]);
      }
      d[i] = toward_zero(sum);
    }
  });
}

void load_tiles(uint32_t (&tiles)[4], const void *row, bool transposed) {
  if (!multiple_of_16(row)) refuse("a row of a tile", row, 16);
  __tsan_read16(const_cast<void *>(row));
  Warp &mine = warp();
  mine.slots[lane()][0] = reinterpret_cast<uint64_t>(row);
  meet_warp();
  const unsigned g = lane() / 4, t = lane() % 4;
  for (unsigned tile = 0; tile < 4; tile++) {
    const auto at = [&](unsigned r, unsigned c) {
      return uint32_t(reinterpret_cast<const uint16_t *>(mine.slots[8 * tile + r][0])[c]);
    };
    tiles[tile] = transposed ? at(2 * t, g) | at(2 * t + 1, g) << 16 : at(g, 2 * t) | at(g, 2 * t + 1) << 16;
  }
  meet_warp();
}

void copy_async(void *shared, const void *global, bool valid) {
  if (!multiple_of_16(shared)) refuse("where a copy goes", shared, 16);
  if (!multiple_of_16(global)) refuse("where a copy comes from", global, 16);
  // It may arrive from now on.
  __tsan_write16(shared);
  current->copies.push_back({shared, global, valid, current->group});
}

void close_copies() { current->group++; }

void copies_done(unsigned left) {
  auto &copies = current->copies;
  const auto due = [&](const Copy &copy) { return copy.group + left < current->group || left == 0; };
  for (const Copy &copy : copies) {
    if (!due(copy)) continue;
    __tsan_write16(copy.to);
    if (copy.valid) {
      std::memcpy(copy.to, copy.from, 16);
    } else {
      std::memset(copy.to, 0, 16);
    }
  }
  copies.erase(std::remove_if(copies.begin(), copies.end(), due), copies.end());
}

void run(dim3 grid, unsigned threads, size_t shared, const std::function<void()> &body) {
  kernel = &body;
  scheduler_sanitizer = __tsan_get_current_fiber();
  while (fibers.size() < threads) {
    Fiber fiber;
    fiber.stack = static_cast<char *>(std::aligned_alloc(64, STACK));
    fiber.sanitizer = __tsan_create_fiber(0);
    fibers.push_back(fiber);
  }
  std::vector<unsigned> order(threads);
  for (unsigned i = 0; i < threads; i++) order[i] = i;
  std::mt19937 random(7);
  char *dynamic = static_cast<char *>(std::aligned_alloc(128, (shared + 128) / 128 * 128));
  running = {dim3{}, dim3{}, dim3{threads, 1, 1}, grid, 0, threads, dynamic};
  for (unsigned z = 0; z < grid.z; z++) {
    for (unsigned y = 0; y < grid.y; y++) {
      for (unsigned x = 0; x < grid.x; x++) {
        running.block = dim3{x, y, z};
        block_barrier = Barrier{};
        warps.assign((threads + 31) / 32, Warp{});
        std::memset(dynamic, 0xff, shared);
        __tsan_release(&block_start);
        for (unsigned i = 0; i < threads; i++) {
          start(fibers[i]);
          fibers[i].thread = dim3{i, 0, 0};
        }
        std::shuffle(order.begin(), order.end(), random);
        run_block(order);
        __tsan_acquire(&block_end);
      }
    }
  }
  std::free(dynamic);
}

namespace {
Kernels &kernels() {
  static Kernels all;
  return all;
}
} // namespace

void Kernels::add(const char *name, Call call) { named[name] = call; }

} // namespace emulator

// What -fsanitize=alignment calls before an access that the type of the address does not allow.
struct Mismatch {
  const char *file;
  uint32_t line, column;
  const void *type;
  unsigned char log_alignment, kind;
};

extern "C" void __ubsan_handle_type_mismatch_v1_abort(const Mismatch *found, const void *address) {
  const std::string what = std::string(found->file) + ":" + std::to_string(found->line);
  emulator::refuse(what.c_str(), address, size_t(1) << found->log_alignment);
}

// 0: done. 1: no kernel of that name. 2: other parameters than the kernel's.
extern "C" int emulator_launch(const char *name, const unsigned *grid, unsigned threads, size_t shared,
                               void **arguments, const size_t *sizes, size_t count) {
  using namespace emulator;
  static const bool filled = (register_kernels(kernels()), true);
  (void)filled;
  const auto found = kernels().named.find(name);
  if (found == kernels().named.end()) return 1;
  kernel_name = name;
#ifdef EMULATOR_RACES
  std::fprintf(stderr, "watched: %s\n", name);
#endif
  const dim3 blocks{grid[0], grid[1], grid[2]};
  return found->second(blocks, threads, shared, arguments, sizes, count) ? 0 : 2;
}
