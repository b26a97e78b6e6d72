/* The tasks of the measurements that write: built by harness.py.
 *
 *   task TOKEN INDEX GO DONE BYTES PAYLOAD INTERVAL_MS
 *
 * Index 0 with BYTES > 0 waits for a byte from the FIFO GO, writes BYTES in pieces of 64 KiB
 * (PAYLOAD zeros, or lines of 64 bytes), says so in the FIFO DONE and sleeps. All others write a
 * line of 64 bytes with its number and the time (CLOCK_MONOTONIC) each INTERVAL_MS; 0: none.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 64 << 10, LINE = 64 };
static char block[BLOCK];

static void flood(const char *go, const char *done, long long bytes, const char *payload)
{
    char byte;
    int fd = open(go, O_RDONLY);
    if (fd < 0 || read(fd, &byte, 1) != 1)
        exit(1);
    if (!strcmp(payload, "lines"))
        for (int at = 0; at < BLOCK; at++)
            block[at] = at % LINE == LINE - 1 ? '\n' : 'x';
    while (bytes > 0) {
        ssize_t wrote = write(1, block, bytes < BLOCK ? bytes : BLOCK);
        if (wrote < 0)
            exit(1);
        bytes -= wrote;
    }
    fd = open(done, O_WRONLY);
    if (fd < 0 || write(fd, "x", 1) != 1)
        exit(1);
}

int main(int argc, char **argv)
{
    if (argc != 8)
        return 2;
    long index = atol(argv[2]), interval = atol(argv[7]);
    long long bytes = atoll(argv[5]);
    if (index == 0 && bytes > 0) {
        flood(argv[3], argv[4], bytes, argv[6]);
        interval = 0;
    }
    if (interval == 0)
        for (;;)
            pause();
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    /* Spread over the interval, as tasks that know nothing of one another are. */
    long long next = at.tv_sec * 1000000000LL + at.tv_nsec
                     + (index * 7919 % interval) * 1000000LL;
    for (long number = 0;; number++, next += interval * 1000000LL) {
        struct timespec until = {next / 1000000000LL, next % 1000000000LL};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL))
            ;
        char line[LINE + 1];
        clock_gettime(CLOCK_MONOTONIC, &at);
        int length = snprintf(line, sizeof line, "%08ld %020lld ", number,
                              at.tv_sec * 1000000000LL + at.tv_nsec);
        memset(line + length, '.', LINE - 1 - length);
        line[LINE - 1] = '\n';
        if (write(1, line, LINE) != LINE)
            return 1;
    }
}
