/* Lets the caller check that it lays out the structures as the compiler did. */
#include "twin.h"

void tw_sizes(int32_t sizes[4]);

void tw_sizes(int32_t sizes[4])
{
    sizes[0] = (int32_t)sizeof(tw_satellite);
    sizes[1] = (int32_t)sizeof(tw_state);
    sizes[2] = (int32_t)sizeof(tw_effort);
    sizes[3] = (int32_t)sizeof(tw_step);
}
