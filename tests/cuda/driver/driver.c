/* A CUDA driver without a GPU, for counting: memory is the host's, copies are copies, kernels do nothing.
 *
 * It stands in for libcuda.so.1, libcublas.so.13 and libcublasLt.so.13, which `run` makes of this file; of their
 * other functions each says "not supported". Counts are numbers of 64 bits in the file that WELLSPRING_DRIVER_COUNTS
 * names, in the order of `struct counts`; a program that maps or reads it can look at any moment.
 *
 * The traffic of a kernel is taken to be what its pointers point to, once: from there to the end of the buffer. That
 * knows of no cache and of no second reading, which is enough to see a matrix that should not have been stored.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DONE = 0, OUT_OF_MEMORY = 2, NO_SUCH_KERNEL = 500 };
enum { MOST_PARAMETERS = 64, CARD = 80 };
static const uint64_t GIB = 1ull << 30;

typedef unsigned long long address_t;
typedef int status_t;

struct counts {
    uint64_t launches, products, sets;       /* kernels, matrix products, fills */
    uint64_t uploads, upload_bytes;          /* from the host */
    uint64_t downloads, download_bytes;      /* to the host, which waits for them */
    uint64_t copies;                         /* within the device */
    uint64_t waits, event_waits;             /* of the host for a stream, for an event */
    uint64_t traffic;                        /* bytes that kernels, products, fills and copies may move */
    uint64_t allocations, now, peak;         /* of memory, and its bytes */
};

static struct counts nobody, *counts = &nobody;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void open_counts(void) {
    const char *path = getenv("WELLSPRING_DRIVER_COUNTS");
    int file = path ? open(path, O_RDWR | O_CREAT, 0644) : -1;
    if (file < 0) return;
    if (ftruncate(file, sizeof *counts) == 0) {
        void *shared = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (shared != MAP_FAILED) {
            counts = shared;
            memset(counts, 0, sizeof *counts);
        }
    }
    close(file);
}

/* Buffers, by address: a tree would be quicker, but a step has some hundreds at a time. */

static struct buffer { address_t at; uint64_t size; } *buffers;
static size_t held, room;

static uint64_t rest_of_buffer(address_t at) {
    for (size_t i = 0; i < held; i++)
        if (at >= buffers[i].at && at < buffers[i].at + buffers[i].size) return buffers[i].at + buffers[i].size - at;
    return 0;
}

status_t cuMemAllocAsync(address_t *at, size_t size, void *stream) {
    /* As the driver does, in steps of 512 bytes. Pages that no one writes take no memory of the host. */
    uint64_t rounded = (size + 511) / 512 * 512;
    void *memory = mmap(NULL, rounded ? rounded : 512, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return OUT_OF_MEMORY;
    pthread_mutex_lock(&lock);
    if (held == room) buffers = realloc(buffers, (room = 2 * room + 64) * sizeof *buffers);
    buffers[held++] = (struct buffer){(address_t)memory, rounded ? rounded : 512};
    counts->allocations++;
    counts->now += rounded;
    if (counts->now > counts->peak) counts->peak = counts->now;
    pthread_mutex_unlock(&lock);
    *at = (address_t)memory;
    return counts->now > CARD * GIB ? OUT_OF_MEMORY : DONE;
}

status_t cuMemFreeAsync(address_t at, void *stream) {
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < held; i++)
        if (buffers[i].at == at) {
            counts->now -= buffers[i].size;
            munmap((void *)at, buffers[i].size);
            buffers[i] = buffers[--held];
            break;
        }
    pthread_mutex_unlock(&lock);
    return DONE;
}

status_t cuMemAlloc_v2(address_t *at, size_t size) { return cuMemAllocAsync(at, size, NULL); }
status_t cuMemFree_v2(address_t at) { return cuMemFreeAsync(at, NULL); }

status_t cuMemGetInfo_v2(size_t *available, size_t *total) {
    *total = CARD * GIB;
    *available = *total - counts->now;
    return DONE;
}

status_t cuMemHostAlloc(void **memory, size_t size, unsigned flags) { return (*memory = calloc(1, size)) ? DONE : OUT_OF_MEMORY; }
status_t cuMemFreeHost(void *memory) { free(memory); return DONE; }

/* The pool: CU_MEMPOOL_ATTR_USED_MEM_CURRENT is 7, ..._HIGH is 8, which 0 resets. */

status_t cuDeviceGetMemPool(void **pool, int device) { *pool = counts; return DONE; }
status_t cuDeviceGetDefaultMemPool(void **pool, int device) { *pool = counts; return DONE; }
status_t cuMemPoolGetAttribute(void *pool, int attribute, void *value) {
    *(uint64_t *)value = attribute == 7 ? counts->now : attribute == 8 ? counts->peak : 0;
    return DONE;
}
status_t cuMemPoolSetAttribute(void *pool, int attribute, void *value) {
    if (attribute == 8) counts->peak = counts->now;
    return DONE;
}

/* Copies. */

status_t cuMemcpyHtoDAsync_v2(address_t to, const void *from, size_t size, void *stream) {
    memcpy((void *)to, from, size);
    counts->uploads++;
    counts->upload_bytes += size;
    return DONE;
}
status_t cuMemcpyHtoD_v2(address_t to, const void *from, size_t size) { return cuMemcpyHtoDAsync_v2(to, from, size, NULL); }
status_t cuMemcpyDtoHAsync_v2(void *to, address_t from, size_t size, void *stream) {
    memcpy(to, (void *)from, size);
    counts->downloads++;
    counts->download_bytes += size;
    return DONE;
}
status_t cuMemcpyDtoH_v2(void *to, address_t from, size_t size) { return cuMemcpyDtoHAsync_v2(to, from, size, NULL); }
status_t cuMemcpyDtoDAsync_v2(address_t to, address_t from, size_t size, void *stream) {
    counts->copies++;
    counts->traffic += 2 * size;
    return DONE;
}
status_t cuMemsetD8Async(address_t to, unsigned char value, size_t size, void *stream) {
    counts->sets++;
    counts->traffic += size;
    return DONE;
}
status_t cuMemsetD32Async(address_t to, unsigned value, size_t size, void *stream) { return cuMemsetD8Async(to, 0, 4 * size, stream); }

/* Waits. */

status_t cuStreamSynchronize(void *stream) { counts->waits++; return DONE; }
status_t cuEventSynchronize(void *event) { counts->event_waits++; return DONE; }
status_t cuCtxSynchronize(void) { counts->waits++; return DONE; }

/* Kernels: a module is its PTX, which says what parameters a kernel has. */

struct kernel {
    char name[128];
    int parameters;
    int sizes[MOST_PARAMETERS]; /* bytes; 0 for what is no pointer */
};

status_t cuModuleLoadData(void **module, const void *image) { return (*module = strdup(image)) ? DONE : OUT_OF_MEMORY; }
status_t cuModuleLoadDataEx(void **module, const void *image, unsigned options, void *names, void *values) {
    return cuModuleLoadData(module, image);
}
status_t cuModuleUnload(void *module) { return DONE; }

status_t cuModuleGetFunction(void **function, void *module, const char *name) {
    char entry[160];
    snprintf(entry, sizeof entry, ".entry %s(", name);
    const char *at = strstr(module, entry);
    if (!at) {
        fprintf(stderr, "driver: there is no kernel %s\n", name);
        return NO_SUCH_KERNEL;
    }
    struct kernel *kernel = calloc(1, sizeof *kernel);
    snprintf(kernel->name, sizeof kernel->name, "%s", name);
    const char *end = strchr(at, ')');
    while ((at = strstr(at + 1, ".param ")) && at < end && kernel->parameters < MOST_PARAMETERS) {
        char line[256];
        snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
        const char *array = strchr(line, '[');
        int size = array ? atoi(array + 1) : strstr(line, ".u64") || strstr(line, ".b64") ? 8 : 0;
        kernel->sizes[kernel->parameters++] = size % 8 ? 0 : size;
    }
    *function = kernel;
    return DONE;
}

status_t cuFuncSetAttribute(void *function, int attribute, int value) { return DONE; }
status_t cuFuncGetAttribute(int *value, int attribute, void *function) { *value = 0; return DONE; }

status_t cuLaunchKernel(struct kernel *kernel, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                        unsigned shared, void *stream, void **parameters, void **extra) {
    pthread_mutex_lock(&lock);
    for (int i = 0; i < kernel->parameters; i++)
        for (int word = 0; word < kernel->sizes[i] / 8; word++)
            counts->traffic += rest_of_buffer(((address_t *)parameters[i])[word]);
    counts->launches++;
    if (getenv("WELLSPRING_DRIVER_LOG")) fprintf(stderr, "%s %u %u %u\n", kernel->name, gx, gy, gz);
    pthread_mutex_unlock(&lock);
    return DONE;
}

/* Matrix products. */

static void product(const void *a, const void *b, const void *d) {
    pthread_mutex_lock(&lock);
    counts->products++;
    counts->traffic += rest_of_buffer((address_t)a) + rest_of_buffer((address_t)b) + rest_of_buffer((address_t)d);
    if (getenv("WELLSPRING_DRIVER_LOG")) fprintf(stderr, "product\n");
    pthread_mutex_unlock(&lock);
}

status_t cublasGemmStridedBatchedEx(void *handle, int ta, int tb, int m, int n, int k, const void *alpha, const void *a, int at,
                                    int lda, long long sa, const void *b, int bt, int ldb, long long sb, const void *beta,
                                    void *c, int ct, int ldc, long long sc, int batch, int compute, int algorithm) {
    product(a, b, c);
    return DONE;
}
status_t cublasLtMatmul(void *handle, void *described, const void *alpha, const void *a, void *al, const void *b, void *bl,
                        const void *beta, const void *c, void *cl, void *d, void *dl, const void *algorithm, void *workspace,
                        size_t size, void *stream) {
    product(a, b, d);
    return DONE;
}
status_t cublasLtMatmulAlgoGetHeuristic(void *handle, void *described, void *a, void *b, void *c, void *d, void *preference,
                                        int asked, void *results, int *count) {
    memset(results, 0, 96); /* the first of them, whose state 0 means that it can be used */
    *count = 1;
    return DONE;
}

static status_t made(void **handle) { return (*handle = malloc(1)) ? DONE : OUT_OF_MEMORY; }
status_t cublasCreate_v2(void **handle) { return made(handle); }
status_t cublasLtCreate(void **handle) { return made(handle); }
status_t cublasLtMatmulDescCreate(void **described, int compute, int scale) { return made(described); }
status_t cublasLtMatrixLayoutCreate(void **layout, int type, uint64_t rows, uint64_t columns, int64_t leading) { return made(layout); }
status_t cublasLtMatmulPreferenceCreate(void **preference) { return made(preference); }
status_t curandCreateGenerator(void **generator, int type) { return made(generator); }

/* What there is to open. */

status_t cuDriverGetVersion(int *version) { *version = 13000; return DONE; }
status_t cuDeviceGetCount(int *count) { *count = 1; return DONE; }
status_t cuDeviceGet(int *device, int ordinal) { *device = ordinal; return DONE; }
status_t cuCtxGetDevice(int *device) { *device = 0; return DONE; }
status_t cuDevicePrimaryCtxRetain(void **context, int device) { *context = counts; return DONE; }
status_t cuCtxGetCurrent(void **context) { *context = counts; return DONE; }
status_t cuStreamCreate(void **stream, unsigned flags) { return made(stream); }
status_t cuEventCreate(void **event, unsigned flags) { return made(event); }
status_t cuDeviceGetAttribute(int *value, int attribute, int device) {
    switch (attribute) {
    case 16: *value = 132; break;        /* multiprocessors */
    case 75: *value = 9; break;          /* compute capability */
    case 76: *value = 0; break;
    case 97: *value = 232448; break;     /* shared memory that a block may ask for */
    default: *value = 1;
    }
    return DONE;
}
