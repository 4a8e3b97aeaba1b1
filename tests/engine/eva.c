/* Frama-C's value analysis of the engine (python -m kdmarl_sat.evidence eva): what it is given is unknown, within these
 * preconditions of the format.
 *
 * The table is EVA_LENGTH bytes long and has the dimensions EVA_HEADER from byte 16 on; every other byte is anything,
 * and so are all bits of observations, hidden state and mask. The storage is as long as the table asks for.
 */
#include "eva_case.h"
#include "kd_engine.h"

#include <__fc_builtin.h>

static const uint8_t header[] = {EVA_HEADER};
static uint8_t table[EVA_LENGTH];
static kd_word storage[EVA_WORDS];
static kd_model model;
static float obs[KD_MAX_OBS];
static uint8_t mask[KD_MAX_ACTIONS];
static float hidden[KD_MAX_UNITS];
static float next[KD_MAX_UNITS];
static float logits[KD_MAX_ACTIONS];

int main(void)
{
    uint32_t i;
    Frama_C_make_unknown((char *)table, sizeof table);
    for (i = 0u; i < sizeof header; i++) {
        table[16u + i] = header[i];
    }
    if (kd_load(&model, table, EVA_LENGTH, storage, EVA_WORDS) != KD_OK) {
        return 1;
    }
    if (model.words != EVA_WORDS) { /* never; but the analysis has joined this with tables that were refused */
        return 2;
    }
    Frama_C_make_unknown((char *)obs, sizeof obs);
    Frama_C_make_unknown((char *)hidden, sizeof hidden);
    Frama_C_make_unknown((char *)mask, sizeof mask);
    (void)kd_decide(&model, obs, mask, hidden, next, logits, 7u);
    if (model.scrubbed == 7u) { /* to the end of the pass; the analysis relates no two variables, so it is told where */
        (void)kd_decide(&model, obs, mask, next, next, logits, 0xFFFFFFFFu);
    }
    return 0;
}
