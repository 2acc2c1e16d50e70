/* Records what a program does to some of its files, so that the disk after a loss of power can be made up.
 *
 * Preloaded into the program. Files whose path contains $POWERLOSS_MATCH are followed; every operation on them is
 * appended to $POWERLOSS_LOG after it has been done:
 *
 *     op (1 byte) | length of the path (2) | offset (8) | length of the data (4) | path | data      little endian
 *
 * op: w write, t truncate to `offset`, s sync, u unlink. What follows the last sync of a file may or may not be on the
 * disk. A sync is recorded before the program hears of it: whatever it promises afterwards is in the log. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FILES = 65536 };

static char *paths[FILES];
static const char *match;
static int log_fd = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define NEXT(name, ...) \
    static __typeof__(name) *next; \
    if (!next) next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static void record(char op, const char *path, int64_t offset, const void *data, size_t size) {
    char head[15];
    uint16_t path_size = (uint16_t)strlen(path);
    uint32_t data_size = (uint32_t)size;
    head[0] = op;
    memcpy(head + 1, &path_size, 2), memcpy(head + 3, &offset, 8), memcpy(head + 11, &data_size, 4);
    struct iovec parts[3] = {{head, sizeof head}, {(void *)path, path_size}, {(void *)data, size}};
    pthread_mutex_lock(&lock);
    if (writev(log_fd, parts, 3) != (ssize_t)(sizeof head + path_size + size)) abort();
    pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("POWERLOSS_LOG");
    match = getenv("POWERLOSS_MATCH");
    if (!name || !match) return;
    NEXT(open);
    log_fd = next(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static const char *followed(int fd) { return fd >= 0 && fd < FILES ? paths[fd] : NULL; }

static int opened(int fd, const char *path, int flags) {
    if (fd < 0 || fd >= FILES || log_fd < 0) return fd;
    free(paths[fd]);
    paths[fd] = strstr(path, match) ? strdup(path) : NULL;
    if (paths[fd] && (flags & O_TRUNC)) record('t', paths[fd], 0, "", 0);
    return fd;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        NEXT(name); \
        va_list arguments; \
        va_start(arguments, flags); \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(arguments, mode_t) : 0; \
        va_end(arguments); \
        return opened(next(path, flags, mode), path, flags); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        NEXT(name); \
        va_list arguments; \
        va_start(arguments, flags); \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(arguments, mode_t) : 0; \
        va_end(arguments); \
        return opened(next(folder, path, flags, mode), path, flags); \
    }
OPENAT(openat)
OPENAT(openat64)

int close(int fd) {
    NEXT(close);
    if (followed(fd)) free(paths[fd]), paths[fd] = NULL;
    return next(fd);
}

ssize_t write(int fd, const void *data, size_t size) {
    NEXT(write);
    int64_t offset = followed(fd) ? lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t done = next(fd, data, size);
    if (done > 0 && followed(fd)) record('w', paths[fd], offset, data, (size_t)done);
    return done;
}

#define PWRITE(name, type) \
    ssize_t name(int fd, const void *data, size_t size, type offset) { \
        NEXT(name); \
        ssize_t done = next(fd, data, size, offset); \
        if (done > 0 && followed(fd)) record('w', paths[fd], (int64_t)offset, data, (size_t)done); \
        return done; \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define FTRUNCATE(name, type) \
    int name(int fd, type size) { \
        NEXT(name); \
        int done = next(fd, size); \
        if (!done && followed(fd)) record('t', paths[fd], (int64_t)size, "", 0); \
        return done; \
    }
FTRUNCATE(ftruncate, off_t)
FTRUNCATE(ftruncate64, off64_t)

#define SYNC(name) \
    int name(int fd) { \
        NEXT(name); \
        int done = next(fd); \
        if (!done && followed(fd)) record('s', paths[fd], 0, "", 0); \
        return done; \
    }
SYNC(fsync)
SYNC(fdatasync)

int unlink(const char *path) {
    NEXT(unlink);
    int done = next(path);
    if (!done && log_fd >= 0 && strstr(path, match)) record('u', path, 0, "", 0);
    return done;
}
