/* The driver's channel on an operating system: standard input and output. A request that came whole takes one call. */
#include "targets/port.h"

#include <string.h>
#include <unistd.h>

static uint8_t received[4096]; /* the longest request for a decision has 3.2 kB */
static uint32_t first;
static uint32_t last;

int port_read(uint8_t *bytes, uint32_t count)
{
    uint32_t done = 0u;
    while (done < count) {
        uint32_t share;
        if (first == last) {
            const ssize_t arrived = read(STDIN_FILENO, received, sizeof received);
            if (arrived <= 0) {
                return -1;
            }
            first = 0u;
            last = (uint32_t)arrived;
        }
        share = ((last - first) < (count - done)) ? (last - first) : (count - done);
        (void)memcpy(&bytes[done], &received[first], share);
        first += share;
        done += share;
    }
    return 0;
}

int port_write(const uint8_t *bytes, uint32_t count)
{
    uint32_t done = 0u;
    while (done < count) {
        const ssize_t sent = write(STDOUT_FILENO, &bytes[done], count - done);
        if (sent <= 0) {
            return -1;
        }
        done += (uint32_t)sent;
    }
    return 0;
}
