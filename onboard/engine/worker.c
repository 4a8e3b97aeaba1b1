/* The engine in a process of its own: shuts itself in, says how well, then serves (targets/driver.c) to its end.
 *
 * Argument, optional: the processor core to stay on. The first answer comes unasked: status = the bits of the limits
 * taken (sandbox.h), payload = u64 address of the kd_model, for fault injection from outside.
 */
#include "sandbox.h"
#include "targets/port.h"

#include <stdlib.h>

enum { STATUS = 0, LENGTH = 4, ADDRESS = 8, HELLO_BYTES = 16 };

static void put(uint8_t *bytes, uint64_t value, uint32_t count)
{
    uint32_t i;
    for (i = 0u; i < count; i++) {
        bytes[i] = (uint8_t)((value >> (8u * i)) & 0xFFu);
    }
}

int main(int argc, char **argv)
{
    uint8_t hello[HELLO_BYTES];
    const int core = (argc > 1) ? (int)strtol(argv[1], NULL, 10) : -1;
    put(&hello[STATUS], sandbox_enter(core), 4u);
    put(&hello[LENGTH], HELLO_BYTES - ADDRESS, 4u);
    put(&hello[ADDRESS], (uint64_t)(uintptr_t)served(), 8u);
    if (port_write(hello, HELLO_BYTES) == 0) {
        serve();
    }
    return 0;
}
