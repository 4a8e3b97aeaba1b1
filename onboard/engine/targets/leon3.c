/* LEON3 under qemu: the channel by the first APBUART. */
#include "port.h"

typedef struct {
    volatile uint32_t data;
    volatile uint32_t status;
    volatile uint32_t control;
    volatile uint32_t scaler;
} apbuart;

#define UART ((apbuart *)0x80000100u)
#define DATA_READY 0x1u
#define HOLDING_EMPTY 0x4u
#define RECEIVE_WITH_INTERRUPT_AND_TRANSMIT 0x7u

#define INTERRUPT_MASK (*(volatile uint32_t *)0x80000240u)
#define UART_INTERRUPT 0x8u

/* qemu forgets to fetch what follows once the UART's 1024 bytes were full, until something else wakes it: a timer. */
#define TIMER_RELOAD (*(volatile uint32_t *)0x80000324u)
#define TIMER_CONTROL (*(volatile uint32_t *)0x80000328u)
#define TIMER_MICROSECONDS 999u
#define TIMER_RUNS_ON 0x7u

/* leon3_start.S */
void wait_for_byte(void);

void port_start(void);

int port_read(uint8_t *bytes, uint32_t count)
{
    uint32_t i;
    for (i = 0u; i < count; i++) {
        if ((UART->status & DATA_READY) == 0u) {
            wait_for_byte();
        }
        bytes[i] = (uint8_t)(UART->data & 0xFFu);
    }
    return 0; /* a UART does not end: QUIT, or whoever started qemu, ends it */
}

int port_write(const uint8_t *bytes, uint32_t count)
{
    uint32_t i;
    for (i = 0u; i < count; i++) {
        while ((UART->status & HOLDING_EMPTY) == 0u) {
        }
        UART->data = bytes[i];
    }
    return 0;
}

void port_start(void)
{
    static const uint8_t ready[8] = {0u};
    UART->control = RECEIVE_WITH_INTERRUPT_AND_TRANSMIT;
    INTERRUPT_MASK = UART_INTERRUPT;
    TIMER_RELOAD = TIMER_MICROSECONDS;
    TIMER_CONTROL = TIMER_RUNS_ON;
    (void)port_write(ready, (uint32_t)sizeof ready);
    serve();
}
