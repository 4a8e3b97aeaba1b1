/* Linear maps, float32 and int8. */
#ifndef KD_LINEAR_H
#define KD_LINEAR_H

#include "kd_engine.h"

/* y = W x + b of one of the model's maps; y has room for whole blocks of outputs. */
void kd_linear_apply(const kd_model *m, uint32_t which, const float *x, float *y);

#endif
