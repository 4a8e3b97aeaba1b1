/* Linux: limits that a process takes on itself for the rest of its life, whoever started it. */
#ifndef KD_SANDBOX_H
#define KD_SANDBOX_H

#include <stdint.h>

/* The limits, in the order in which they are taken. runners/isolated.py has their names. */
typedef enum {
    SANDBOX_AFFINITY = 1 << 0,      /* runs on one processor core */
    SANDBOX_ADDRESS_SPACE = 1 << 1, /* cannot grow beyond its image and SANDBOX_SPARE_BYTES */
    SANDBOX_DATA = 1 << 2,          /* no heap */
    SANDBOX_OPEN_FILES = 1 << 3,    /* none but those it has */
    SANDBOX_FILE_SIZE = 1 << 4,     /* cannot lengthen a file */
    SANDBOX_CORE_DUMP = 1 << 5,     /* none */
    SANDBOX_CPU_TIME = 1 << 6,      /* ends after SANDBOX_CPU_SECONDS of it */
    SANDBOX_PROCESSES = 1 << 7,     /* no children (the kernel does not hold root to this one) */
    SANDBOX_CLOSED_FILES = 1 << 8,  /* nothing open but standard input and output */
    SANDBOX_USER = 1 << 9,          /* nobody, without groups and without a way back; takes root */
    SANDBOX_NO_NEW_PRIVILEGES = 1 << 10,
    SANDBOX_PARENT = 1 << 11,       /* is killed when the thread that started it ends */
    SANDBOX_SYSTEM_CALLS = 1 << 12  /* read, write and exit; another one kills it */
} sandbox_limit;

#define SANDBOX_SPARE_BYTES (1u << 20)
#define SANDBOX_CPU_SECONDS 3600u

/* Take every limit that this kernel and these privileges allow; the bits of those taken. No core: -1. */
uint32_t sandbox_enter(int core);

#endif
