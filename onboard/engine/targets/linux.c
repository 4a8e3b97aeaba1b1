/* A program without a library for qemu's user mode: standard input and output by bare Linux system calls. */
#include "port.h"

#if defined(__aarch64__)
enum { READ = 63, WRITE = 64, EXIT = 93 };
__asm__(".global _start\n_start:\n\tmov x29, #0\n\tmov x30, #0\n\tbl start\n");
#elif defined(__riscv)
enum { READ = 63, WRITE = 64, EXIT = 93 };
__asm__(".global _start\n_start:\n\t.option push\n\t.option norelax\n\tla gp, __global_pointer$\n\t.option pop\n\tcall start\n");
#elif defined(__powerpc__) && !defined(__powerpc64__)
enum { READ = 3, WRITE = 4, EXIT = 1 };
/* The ABI wants a frame with a null back chain on an aligned stack. */
__asm__(".global _start\n_start:\n\trlwinm 1,1,0,0,27\n\tli 0,0\n\tstwu 0,-16(1)\n\tbl start\n");
#elif defined(__arm__)
enum { READ = 3, WRITE = 4, EXIT = 1 };
__asm__(".global _start\n.type _start, %function\n_start:\n\tmov fp, #0\n\tmov lr, #0\n\tbl start\n");
#else
#error "no system calls for this processor"
#endif

void start(void);

static long system_call(long number, long first, const void *second, long third)
{
#if defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = first;
    register const void *x1 __asm__("x1") = second;
    register long x2 __asm__("x2") = third;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
#elif defined(__riscv)
    register long a7 __asm__("a7") = number;
    register long a0 __asm__("a0") = first;
    register const void *a1 __asm__("a1") = second;
    register long a2 __asm__("a2") = third;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2) : "memory");
    return a0;
#elif defined(__powerpc__)
    register long r0 __asm__("r0") = number;
    register long r3 __asm__("r3") = first;
    register const void *r4 __asm__("r4") = second;
    register long r5 __asm__("r5") = third;
    /* An error is a positive number and the summary overflow bit. */
    __asm__ volatile("sc\n\tbns+ 1f\n\tneg 3,3\n1:"
                     : "+r"(r0), "+r"(r3), "+r"(r4), "+r"(r5)
                     :
                     : "r6", "r7", "r8", "r9", "r10", "r11", "r12", "cr0", "ctr", "memory");
    return r3;
#else
    register long r7 __asm__("r7") = number;
    register long r0 __asm__("r0") = first;
    register const void *r1 __asm__("r1") = second;
    register long r2 __asm__("r2") = third;
    __asm__ volatile("svc #0" : "+r"(r0) : "r"(r7), "r"(r1), "r"(r2) : "memory");
    return r0;
#endif
}

static int transfer(long number, long file, const uint8_t *bytes, uint32_t count)
{
    uint32_t done = 0u;
    while (done < count) {
        const long moved = system_call(number, file, &bytes[done], (long)(count - done));
        if (moved <= 0) {
            return -1;
        }
        done += (uint32_t)moved;
    }
    return 0;
}

int port_read(uint8_t *bytes, uint32_t count)
{
    return transfer(READ, 0, bytes, count);
}

int port_write(const uint8_t *bytes, uint32_t count)
{
    return transfer(WRITE, 1, bytes, count);
}

void start(void)
{
    static const uint8_t ready[8] = {0u};
    (void)port_write(ready, (uint32_t)sizeof ready);
    serve();
    (void)system_call(EXIT, 0, 0, 0);
    for (;;) {
    }
}
