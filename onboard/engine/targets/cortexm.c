/* Cortex-M under qemu: vectors, FPU, and the channel by semihosting on qemu's own standard input and output. */
#include "port.h"

enum { SYS_OPEN = 1, SYS_WRITE = 5, SYS_READ = 6, SYS_EXIT_EXTENDED = 0x20 };
enum { MODE_RB = 1, MODE_WB = 5 };

#define COPROCESSOR_ACCESS (*(volatile uint32_t *)0xE000ED88u)
#define APPLICATION_EXIT 0x20026u /* the reason of an orderly end, with a status after it */

extern uint32_t stack_top[]; /* from the linker script */
void reset(void);

static uint32_t input;
static uint32_t output;

static uint32_t semihosting(uint32_t operation, const uint32_t *arguments)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const uint32_t *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static uint32_t address(const void *place)
{
    return (uint32_t)place;
}

static void end(uint32_t status)
{
    const uint32_t arguments[2] = {APPLICATION_EXIT, status};
    (void)semihosting((uint32_t)SYS_EXIT_EXTENDED, arguments);
    for (;;) {
    }
}

static uint32_t channel(const char *name, uint32_t length, uint32_t mode)
{
    const uint32_t arguments[3] = {address(name), mode, length};
    return semihosting((uint32_t)SYS_OPEN, arguments);
}

/* Both operations answer with the bytes that they did not transfer. */
static int transfer(uint32_t operation, uint32_t file, const uint8_t *bytes, uint32_t count)
{
    uint32_t left = count;
    while (left > 0u) {
        const uint32_t arguments[3] = {file, address(&bytes[count - left]), left};
        const uint32_t after = semihosting(operation, arguments);
        if (after >= left) {
            return -1;
        }
        left = after;
    }
    return 0;
}

int port_read(uint8_t *bytes, uint32_t count)
{
    return transfer((uint32_t)SYS_READ, input, bytes, count);
}

int port_write(const uint8_t *bytes, uint32_t count)
{
    return transfer((uint32_t)SYS_WRITE, output, bytes, count);
}

/* qemu has put .data and .bss in place; on a board this is where they are copied and cleared. */
void reset(void)
{
    static const uint8_t ready[8] = {0u};
    COPROCESSOR_ACCESS |= 0x00F00000u; /* the FPU, for all code */
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    input = channel("/dev/stdin", 10u, (uint32_t)MODE_RB);
    output = channel("/dev/stdout", 11u, (uint32_t)MODE_WB);
    (void)port_write(ready, (uint32_t)sizeof ready);
    serve();
    end(0u);
}

static void fault(void)
{
    end(1u);
}

typedef struct {
    uint32_t *stack;
    void (*handlers[15])(void);
} vector_table;

__attribute__((section(".vectors"), used)) static const vector_table vectors = {
    stack_top,
    {reset, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault},
};
