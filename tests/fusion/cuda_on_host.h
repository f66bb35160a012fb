// What kernels in CUDA C++ need to be compiled by a C++ compiler, and to run on the host: a block at a time, its
// threads one after the other. A kernel with barriers has a stack for each thread, and changes threads at a barrier.

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <ucontext.h>

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(threads)
// All that the kernels have in PTX is the conversion of `x` into `y` where one of them is float16.
#define asm(...) convert_float16(x, &y)

static struct { unsigned x; } threadIdx, blockIdx;

static inline float __uint_as_float(unsigned bits) { float x; std::memcpy(&x, &bits, sizeof x); return x; }
static inline unsigned __float_as_uint(float x) { unsigned bits; std::memcpy(&bits, &x, sizeof bits); return bits; }

static inline void convert_float16(unsigned short bits, float *y) {
  _Float16 x;
  std::memcpy(&x, &bits, sizeof x);
  *y = x;
}
template <class T> static inline void convert_float16(T x, unsigned short *bits) {
  const _Float16 y = x;
  std::memcpy(bits, &y, sizeof y);
}

// Functions that libraries round differently are taken from where the results are compared with: number `i` of them in
// float64, number `-1 - i` in float32. Kernels are compiled inside of a namespace, where these come before the usual ones.
extern "C" double (*function)(int i, double x, double y);
double (*function)(int i, double x, double y);
#define FUNCTION(i, name) \
  static inline double name(double x, double y = 0) { return function(i, x, y); } \
  static inline float name##f(float x, float y = 0) { return function(-1 - i, x, y); }

typedef void (*Kernel)(const long long *, const int *);

namespace block {
const int STACK = 1 << 16;
int threads, waiting, finished;
ucontext_t scheduler, *contexts;
char *stacks;
Kernel kernel;
const long long *table;
const int *chunks;

void run_thread() {
  kernel(table, chunks);
  ++finished;
}

// Run all threads from barrier to barrier; false if some of them end where others wait.
bool run(bool backwards) {
  if (!contexts) {
    contexts = new ucontext_t[threads];
    stacks = new char[(long)threads * STACK];
  }
  for (int t = 0; t < threads; ++t) {
    getcontext(&contexts[t]);
    contexts[t].uc_stack.ss_sp = stacks + (long)t * STACK;
    contexts[t].uc_stack.ss_size = STACK;
    contexts[t].uc_link = &scheduler;
    makecontext(&contexts[t], run_thread, 0);
  }
  for (finished = 0; finished == 0;) {
    waiting = 0;
    for (int k = 0; k < threads; ++k) {
      threadIdx.x = backwards ? threads - 1 - k : k;
      swapcontext(&scheduler, &contexts[threadIdx.x]);
    }
    if (finished != 0 && waiting != 0) return false;
  }
  return true;
}
}  // namespace block

static inline void __syncthreads() {
  const unsigned own = threadIdx.x;
  ++block::waiting;
  swapcontext(&block::contexts[own], &block::scheduler);
  threadIdx.x = own;
}

extern "C" int launch(
    Kernel kernel, bool barriers, int blocks, int threads, const long long *table, const int *chunks, bool backwards) {
  block::kernel = kernel;
  block::threads = threads;
  block::table = table;
  block::chunks = chunks;
  for (int b = 0; b < blocks; ++b) {
    blockIdx.x = backwards ? blocks - 1 - b : b;
    if (barriers) {
      if (!block::run(backwards)) return 1;
      continue;
    }
    for (int k = 0; k < threads; ++k) {
      threadIdx.x = backwards ? threads - 1 - k : k;
      kernel(table, chunks);
    }
  }
  return 0;
}
