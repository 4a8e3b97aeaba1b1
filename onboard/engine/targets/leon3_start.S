/* LEON3 under qemu: registers as a boot loader leaves them, one stack, and a wait that lets the host's processor rest.
 *
 * Traps are enabled only in the wait, for the UART's interrupt. Any other, a register window too many among them, stops
 * the processor, and qemu with it: no answer is ever computed with a lost window, and no handler's instructions are
 * counted as the engine's.
 */
#define UART_STATUS 0x80000104
#define DATA_READY 1
#define UART_TRAP 0x13          /* interrupt 3 */
#define ENABLE_TRAPS 0x20
#define STATE 0x10C0            /* supervisor, FPU enabled, traps disabled, window 0 */

    .section .text.start, "ax"
    .global _start
    .global traps
    .type _start, #function
    .align 4096
traps:
    .rept UART_TRAP
    ta 0
    nop
    nop
    nop
    .endr
    sethi %hi(look), %l1        /* wherever the wait was interrupted, look again */
    or %l1, %lo(look), %l1
    jmp %l1
    rett %l1 + 4
    .rept 256 - UART_TRAP - 1
    ta 0
    nop
    nop
    nop
    .endr

_start:
    set STATE, %g1
    wr %g1, %psr
    wr %g0, 0x02, %wim          /* windows 0 and 7 down to 2 are free, 1 is the last that must not be entered */
    set traps, %g1
    wr %g1, %tbr
    nop
    nop
    nop
    set stack_top, %sp
    sub %sp, 96, %sp            /* a window's save area and the argument words of the ABI */
    clr %fp
    st %g0, [%sp + 64]
    ld [%sp + 64], %fsr         /* round to nearest, no floating-point traps */
    call port_start
    nop
    ta 0                        /* with traps disabled: qemu ends */
    nop
    .size _start, . - _start

/* void wait_for_byte(void): until the UART has received one. */
    .global wait_for_byte
    .type wait_for_byte, #function
wait_for_byte:
    set UART_STATUS, %o1
    rd %psr, %o2
    or %o2, ENABLE_TRAPS, %o3
    wr %o3, %psr
    nop
    nop
    nop
look:
    ld [%o1], %o0
    andcc %o0, DATA_READY, %g0
    bne ready
    nop
    wr %g0, %asr19              /* power down until an interrupt */
    ba look
    nop
ready:
    wr %o2, %psr
    nop
    nop
    nop
    retl
    nop
    .size wait_for_byte, . - wait_for_byte

    .section .note.GNU-stack, "", %progbits
