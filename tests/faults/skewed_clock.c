/* A wall clock that differs from the machine's by SKEW_S seconds, for a process that loads this first (LD_PRELOAD).
   Times of files are the disk's, and waits last as long as ever. Debian's faketime bends sleeps as well, and Ray hangs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long skew(void) {
    static long known, s;
    if (!known) { const char *text = getenv("SKEW_S"); s = text ? atol(text) : 0; known = 1; }
    return s;
}
static struct timespec real_one(const struct timespec *until) {
    struct timespec t = *until;
    if (t.tv_sec > 1000000000) t.tv_sec -= skew();  /* a date; seconds since boot are fewer */
    return t;
}
int clock_gettime(clockid_t id, struct timespec *t) {
    int status = (int)syscall(SYS_clock_gettime, id, t);
    if (!status && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) t->tv_sec += skew();
    return status;
}
int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    int status = (int)syscall(SYS_gettimeofday, t, zone);
    if (!status && t) t->tv_sec += skew();
    return status;
}
time_t time(time_t *t) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (t) *t = now.tv_sec;
    return now.tv_sec;
}
#define WAIT(name, type) \
    int name(type *what, const struct timespec *until) { \
        static int (*next)(type *, const struct timespec *); \
        if (!next) next = dlsym(RTLD_NEXT, #name); \
        struct timespec t = real_one(until); \
        return next(what, &t); \
    }
WAIT(sem_timedwait, sem_t)
WAIT(pthread_mutex_timedlock, pthread_mutex_t)
int pthread_cond_timedwait(pthread_cond_t *what, pthread_mutex_t *lock, const struct timespec *until) {
    static int (*next)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!next) next = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (!next) next = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    struct timespec t = real_one(until);
    return next(what, lock, &t);
}
