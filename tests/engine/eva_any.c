/* Frama-C's value analysis of the checks of a weight table of which nothing is known (see eva.c). */
#include "kd_engine.h"

#include <__fc_builtin.h>

enum { LONGEST = 1024 };

static uint8_t table[LONGEST];

int main(void)
{
    Frama_C_make_unknown((char *)table, sizeof table);
    return kd_validate(table, Frama_C_unsigned_int_interval(0u, (uint32_t)LONGEST));
}
