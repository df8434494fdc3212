/* DMA heaps for a kernel that has none: their buffers become memory files.
 *
 * Preloaded into Python. Opening a heap gives an empty memory file; an allocation from it gives
 * another one of the length asked for; names and cache synchronisation of buffers succeed without
 * effect, since memory files are coherent. All other files and ioctls pass through.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int is_heap(const char *path)
{
    return !strcmp(path, "/dev/dma_heap/system") || !strcmp(path, "/dev/dma_heap/vidbuf_cached");
}

static int next_open(const char *name, const char *path, int flags, int mode)
{
    if (is_heap(path))
        return memfd_create("dma-heap", MFD_CLOEXEC);
    int (*next)(const char *, int, ...) = dlsym(RTLD_NEXT, name);
    return next(path, flags, mode);
}

#define INTERPOSE_OPEN(name)                                    \
    int name(const char *path, int flags, ...)                  \
    {                                                           \
        va_list rest;                                           \
        va_start(rest, flags);                                  \
        int mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, int) : 0; \
        va_end(rest);                                           \
        return next_open(#name, path, flags, mode);             \
    }

INTERPOSE_OPEN(open)
INTERPOSE_OPEN(open64)

int ioctl(int fd, unsigned long request, ...)
{
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);

    switch (request) {
    case DMA_HEAP_IOCTL_ALLOC: {
        struct dma_heap_allocation_data *wanted = argument;
        int buffer = memfd_create("dma-buffer", MFD_CLOEXEC);
        if (buffer < 0)
            return -1;
        if (ftruncate(buffer, (off_t)wanted->len) < 0) {
            close(buffer);
            return -1;
        }
        wanted->fd = (unsigned int)buffer;
        return 0;
    }
    case DMA_BUF_SET_NAME_A:
    case DMA_BUF_SET_NAME_B:
    case DMA_BUF_IOCTL_SYNC:
        return 0;
    }
    int (*next)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
    return next(fd, request, argument);
}
