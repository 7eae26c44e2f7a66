// Ends a program, or fails one of its calls, at the Nth change that it makes to files below a folder.
//
//   CRASH_BELOW  the folder, an absolute path
//   CRASH_AT     N, counted from 1; 0 changes nothing
//   CRASH_HOW    kill    before the change
//                torn    when half of a write is done
//                enospc  the change fails: the disk is full
//                eio     the change fails: the disk is broken
//                full    as enospc, and all that come after it, but that files may still be removed
//   CRASH_LOG    a file that gets a line for each change: its number, what it is, and its path
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { CREATE, WRITE, SYNC, NAME, REMOVE };
enum how { KILL, TORN, ENOSPC_ONCE, EIO_ONCE, FULL };

static const char *below, *log_path;
static size_t below_length;
static int at;
static enum how how;
static int changes;

__attribute__((constructor)) static void begin(void) {
    static const char *names[] = {"kill", "torn", "enospc", "eio", "full"};
    const char *number = getenv("CRASH_AT"), *name = getenv("CRASH_HOW");
    below = getenv("CRASH_BELOW");
    below_length = below ? strlen(below) : 0;
    log_path = getenv("CRASH_LOG");
    at = number ? atoi(number) : 0;
    for (int i = 0; name && i < 5; i++)
        if (!strcmp(name, names[i])) how = i;
    // What it starts is not counted.
    unsetenv("LD_PRELOAD");
}

static void tell(int number, const char *call, const char *path) {
    if (!log_path) return;
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%d %s %s\n", number, call, path);
    int fd = syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (fd < 0) return;
    syscall(SYS_write, fd, line, length);
    syscall(SYS_close, fd);
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

// Whether the change must fail, with errno set; a write that is to be torn gives 2.
static int fails(enum kind kind, const char *call, const char *path) {
    if (!below) return 0;
    // A path that is not absolute is below the folder that the program was started in.
    if (path[0] == '/' && strncmp(path, below, below_length)) return 0;
    int number = __sync_add_and_fetch(&changes, 1);
    tell(number, call, path);
    if (!at || number < at || (number > at && how != FULL)) return 0;
    switch (how) {
    case KILL: die();
    case TORN:
        if (kind == WRITE) return 2;
        die();
    case EIO_ONCE: errno = EIO; return 1;
    case FULL:
        if (kind == REMOVE) return 0;
    case ENOSPC_ONCE: errno = ENOSPC; return 1;
    }
    return 0;
}

static int fails_at(enum kind kind, const char *call, int folder, const char *path) {
    char whole[2 * PATH_MAX], link[64];
    if (path[0] == '/' || folder == AT_FDCWD) return fails(kind, call, path);
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, whole, PATH_MAX);
    if (length < 0) length = 0;
    snprintf(whole + length, sizeof whole - length, "/%s", path);
    return fails(kind, call, whole);
}

static int fails_of(enum kind kind, const char *call, int fd) {
    struct stat state;
    char path[PATH_MAX + 1], link[64];
    if (fd < 3 || fstat(fd, &state) || !(S_ISREG(state.st_mode) || S_ISDIR(state.st_mode))) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX);
    if (length < 0) return 0;
    path[length] = 0;
    return fails(kind, call, path);
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = dlsym(RTLD_NEXT, #name)

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, name, const char *, int, ...); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = va_arg(rest, int); \
        va_end(rest); \
        if (flags & (O_CREAT | O_TRUNC) && fails(CREATE, "create", path)) return -1; \
        return real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        REAL(int, name, int, const char *, int, ...); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = va_arg(rest, int); \
        va_end(rest); \
        if (flags & (O_CREAT | O_TRUNC) && fails_at(CREATE, "create", folder, path)) return -1; \
        return real(folder, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int fd, const void *bytes, size_t length) {
    REAL(ssize_t, write, int, const void *, size_t);
    int fault = fails_of(WRITE, "write", fd);
    if (fault == 1) return -1;
    if (fault == 2) real(fd, bytes, length / 2), die();
    return real(fd, bytes, length);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    int fault = fails_of(WRITE, "write", fd);
    if (fault == 1) return -1;
    if (fault == 2) real(fd, parts, count / 2), die();
    return real(fd, parts, count);
}

#define PWRITE(name) \
    ssize_t name(int fd, const void *bytes, size_t length, off_t offset) { \
        REAL(ssize_t, name, int, const void *, size_t, off_t); \
        int fault = fails_of(WRITE, "write", fd); \
        if (fault == 1) return -1; \
        if (fault == 2) real(fd, bytes, length / 2, offset), die(); \
        return real(fd, bytes, length, offset); \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t copy_file_range(int from, off64_t *at_from, int to, off64_t *at_to, size_t length, unsigned flags) {
    REAL(ssize_t, copy_file_range, int, off64_t *, int, off64_t *, size_t, unsigned);
    return fails_of(WRITE, "copy", to) ? -1 : real(from, at_from, to, at_to, length, flags);
}

#define OF_FILE(name, kind, ...) \
    int name(int fd __VA_OPT__(, off_t length)) { \
        REAL(int, name, int __VA_OPT__(, off_t)); \
        return fails_of(kind, #name, fd) ? -1 : real(fd __VA_OPT__(, length)); \
    }
OF_FILE(ftruncate, WRITE, length)
OF_FILE(ftruncate64, WRITE, length)
OF_FILE(fsync, SYNC)
OF_FILE(fdatasync, SYNC)

int rename(const char *from, const char *to) {
    REAL(int, rename, const char *, const char *);
    return fails(NAME, "rename", to) ? -1 : real(from, to);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    REAL(int, renameat, int, const char *, int, const char *);
    return fails_at(NAME, "rename", to_folder, to) ? -1 : real(from_folder, from, to_folder, to);
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
    REAL(int, renameat2, int, const char *, int, const char *, unsigned);
    return fails_at(NAME, "rename", to_folder, to) ? -1 : real(from_folder, from, to_folder, to, flags);
}

int link(const char *from, const char *to) {
    REAL(int, link, const char *, const char *);
    return fails(NAME, "link", to) ? -1 : real(from, to);
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    REAL(int, linkat, int, const char *, int, const char *, int);
    return fails_at(NAME, "link", to_folder, to) ? -1 : real(from_folder, from, to_folder, to, flags);
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, mkdir, const char *, mode_t);
    return fails(NAME, "mkdir", path) ? -1 : real(path, mode);
}

int unlink(const char *path) {
    REAL(int, unlink, const char *);
    return fails(REMOVE, "unlink", path) ? -1 : real(path);
}

int unlinkat(int folder, const char *path, int flags) {
    REAL(int, unlinkat, int, const char *, int);
    return fails_at(REMOVE, "unlink", folder, path) ? -1 : real(folder, path, flags);
}

int rmdir(const char *path) {
    REAL(int, rmdir, const char *);
    return fails(REMOVE, "rmdir", path) ? -1 : real(path);
}
