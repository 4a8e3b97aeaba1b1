/* What a target gives the driver: a channel of bytes each way, and an end. Its start-up code writes an answer that nobody
 * asked for, because some channels lose what comes before they are set up, and calls serve(). */
#ifndef KD_PORT_H
#define KD_PORT_H

#include <stdint.h>

/* All `count` bytes, or not 0: the channel has ended. */
int port_read(uint8_t *bytes, uint32_t count);
int port_write(const uint8_t *bytes, uint32_t count);

/* Answers requests until the channel ends or asks it to stop. */
void serve(void);

/* The kd_model that it serves, for fault injection from outside. */
const void *served(void);

#endif
