/* A stand-in for libcuda.so.1 over host memory: one device, or as many results as asked for.
   Only what the session calls; signatures as in CUDA's own driver API. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef DEVICES
#define DEVICES 1
#endif
#ifndef INIT
#define INIT 0
#endif

static long live = 0; /* allocations, streams, events and contexts that were not given back */

long standin_live(void) { return live; }

int cuInit(unsigned flags) { return INIT; }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuGetErrorName(int code, const char **text) {
    *text = code == 100 ? "CUDA_ERROR_NO_DEVICE" : code == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_UNKNOWN";
    return 0;
}
int cuGetErrorString(int code, const char **text) { *text = "told by the stand-in"; return 0; }
int cuDeviceGetCount(int *count) { *count = DEVICES; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal < DEVICES ? 0 : 101; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "Stand-In GPU", size); return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 9 : 0; /* compute capability 9.0 */
    return 0;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)8 << 30; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { live++; *context = &live; return 0; }
int cuDevicePrimaryCtxRelease_v2(int device) { live--; return 0; }
int cuCtxSetCurrent(void *context) { return context == &live ? 0 : 201; }

int cuMemAlloc_v2(uint64_t *address, size_t size) {
    if (size > (size_t)1 << 32) return 2;
    live++;
    *address = (uint64_t)(uintptr_t)malloc(size);
    return 0;
}
int cuMemFree_v2(uint64_t address) { live--; free((void *)(uintptr_t)address); return 0; }
int cuMemAllocHost_v2(void **address, size_t size) { live++; *address = malloc(size); return 0; }
int cuMemFreeHost(void *address) { live--; free(address); return 0; }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size, void *stream) {
    memcpy((void *)(uintptr_t)to, from, size);
    return 0;
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size, void *stream) {
    memcpy(to, (void *)(uintptr_t)from, size);
    return 0;
}
int cuStreamCreate(void **stream, unsigned flags) { live++; *stream = malloc(1); return 0; }
int cuStreamSynchronize(void *stream) { return 0; }
int cuStreamDestroy_v2(void *stream) { live--; free(stream); return 0; }
int cuEventCreate(void **event, unsigned flags) { live++; *event = calloc(1, sizeof(struct timespec)); return 0; }
int cuEventRecord(void *event, void *stream) { return clock_gettime(CLOCK_MONOTONIC, event); }
int cuEventSynchronize(void *event) { return 0; }
int cuEventElapsedTime(float *ms, void *begin, void *end) {
    struct timespec *a = begin, *b = end;
    *ms = (b->tv_sec - a->tv_sec) * 1e3f + (b->tv_nsec - a->tv_nsec) / 1e6f;
    return 0;
}
int cuEventDestroy_v2(void *event) { live--; free(event); return 0; }
