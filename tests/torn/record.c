/* Records what a process does to files whose path holds $RECORD_UNDER, in the order of its calls, into $RECORD_INTO.

   A record is a header of five 64-bit numbers (kind, descriptor, offset, length of the first and of the second part),
   and the two parts: bytes or paths. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN = 1, WRITE, TRUNCATE, LINK, RENAME, UNLINK };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int into = -1;
static char watched[4096];

static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }

/* A child begins with the first file that it opens after the variable is set. */
static void begin(void) {
    const char *path = getenv("RECORD_INTO");
    if (into >= 0 || path == NULL) return;
    int (*real)(const char *, int, ...) = next("open");
    into = real(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static void put(int64_t kind, int64_t descriptor, int64_t offset, const void *one, int64_t n, const void *two, int64_t m) {
    int64_t header[5] = {kind, descriptor, offset, n, m};
    struct iovec parts[3] = {{header, sizeof header}, {(void *)one, n}, {(void *)two, m}};
    ssize_t (*real)(int, const struct iovec *, int) = next("writev");
    if (real(into, parts, 3) != (ssize_t)(sizeof header + n + m)) abort();
}

static int is_watched(int descriptor) {
    return into >= 0 && descriptor >= 0 && descriptor < (int)sizeof watched && watched[descriptor];
}

static int under(const char *path) {
    begin();
    const char *folder = getenv("RECORD_UNDER");
    return into >= 0 && folder != NULL && strstr(path, folder) != NULL;
}

static void opened(int descriptor, const char *path, int flags) {
    if (descriptor < 0 || descriptor >= (int)sizeof watched) return;
    pthread_mutex_lock(&lock);
    watched[descriptor] = under(path) && (flags & O_ACCMODE) != O_RDONLY;
    if (watched[descriptor]) put(OPEN, descriptor, (flags & O_TRUNC) != 0, path, strlen(path), NULL, 0);
    pthread_mutex_unlock(&lock);
}

#define OPENED(name, arguments, passed, path)                          \
    int name arguments {                                               \
        mode_t mode = 0;                                               \
        if (flags & O_CREAT) {                                         \
            va_list more;                                              \
            va_start(more, flags);                                     \
            mode = va_arg(more, mode_t);                               \
            va_end(more);                                              \
        }                                                              \
        int (*real) arguments = next(#name);                           \
        int descriptor = real passed;                                  \
        int kept = errno;                                              \
        opened(descriptor, path, flags);                               \
        errno = kept;                                                  \
        return descriptor;                                             \
    }

OPENED(open, (const char *path, int flags, ...), (path, flags, mode), path)
OPENED(open64, (const char *path, int flags, ...), (path, flags, mode), path)
OPENED(openat, (int at, const char *path, int flags, ...), (at, path, flags, mode), path)
OPENED(openat64, (int at, const char *path, int flags, ...), (at, path, flags, mode), path)

int close(int descriptor) {
    int (*real)(int) = next("close");
    if (descriptor >= 0 && descriptor < (int)sizeof watched) watched[descriptor] = 0;
    return real(descriptor);
}

#define RECORDED(record, call)               \
    if (!is_watched(descriptor)) return call; \
    pthread_mutex_lock(&lock);               \
    record;                                  \
    ssize_t done = call;                     \
    pthread_mutex_unlock(&lock);             \
    return done;

ssize_t write(int descriptor, const void *bytes, size_t n) {
    ssize_t (*real)(int, const void *, size_t) = next("write");
    RECORDED(put(WRITE, descriptor, lseek(descriptor, 0, SEEK_CUR), bytes, n, NULL, 0), real(descriptor, bytes, n))
}

ssize_t pwrite(int descriptor, const void *bytes, size_t n, off_t offset) {
    ssize_t (*real)(int, const void *, size_t, off_t) = next("pwrite");
    RECORDED(put(WRITE, descriptor, offset, bytes, n, NULL, 0), real(descriptor, bytes, n, offset))
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t n, off64_t offset) {
    ssize_t (*real)(int, const void *, size_t, off64_t) = next("pwrite64");
    RECORDED(put(WRITE, descriptor, offset, bytes, n, NULL, 0), real(descriptor, bytes, n, offset))
}

int ftruncate(int descriptor, off_t length) {
    int (*real)(int, off_t) = next("ftruncate");
    RECORDED(put(TRUNCATE, descriptor, length, NULL, 0, NULL, 0), real(descriptor, length))
}

int ftruncate64(int descriptor, off64_t length) {
    int (*real)(int, off64_t) = next("ftruncate64");
    RECORDED(put(TRUNCATE, descriptor, length, NULL, 0, NULL, 0), real(descriptor, length))
}

#define NAMED(name, kind)                                                                  \
    int name(const char *old, const char *new) {                                           \
        int (*real)(const char *, const char *) = next(#name);                             \
        if (under(new)) put(kind, 0, 0, old, strlen(old), new, strlen(new));               \
        return real(old, new);                                                             \
    }

NAMED(link, LINK)
NAMED(rename, RENAME)

int linkat(int from, const char *old, int to, const char *new, int flags) {
    int (*real)(int, const char *, int, const char *, int) = next("linkat");
    if (under(new)) put(LINK, 0, 0, old, strlen(old), new, strlen(new));
    return real(from, old, to, new, flags);
}

int unlink(const char *path) {
    int (*real)(const char *) = next("unlink");
    if (under(path)) put(UNLINK, 0, 0, path, strlen(path), NULL, 0);
    return real(path);
}
