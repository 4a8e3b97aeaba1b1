/* Lets the caller check that it lays out the structures as the compiler did. */
#include "episode.h"

void tw_sizes(int32_t sizes[7]);

void tw_sizes(int32_t sizes[7])
{
    sizes[0] = (int32_t)sizeof(tw_satellite);
    sizes[1] = (int32_t)sizeof(tw_state);
    sizes[2] = (int32_t)sizeof(tw_effort);
    sizes[3] = (int32_t)sizeof(tw_step);
    sizes[4] = (int32_t)sizeof(tw_mission);
    sizes[5] = (int32_t)sizeof(tw_episode);
    sizes[6] = (int32_t)sizeof(tw_captures);
}
