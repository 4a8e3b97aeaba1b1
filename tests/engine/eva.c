/* Frama-C's value analysis of the engine (python -m kdmarl_sat.evidence eva): what it is given is unknown, within these
 * preconditions of the format.
 *
 * Loading: the table is EVA_LENGTH bytes long and has the dimensions EVA_HEADER from byte 16 on; every other byte is
 * anything, and the storage is as long as the table asks for. Deciding: the model has the fields EVA_MODEL, which are
 * those of such a table; weights, observations, mask and hidden state are any bits.
 */
#include "eva_case.h"
#include "kd_engine.h"

#include <__fc_builtin.h>

static const uint8_t header[] = {EVA_HEADER};
static uint8_t table[EVA_LENGTH];
static kd_word storage[EVA_WORDS];
static kd_model loaded;
static kd_model model = {storage, EVA_MODEL};
static float obs[KD_MAX_OBS];
static uint8_t mask[KD_MAX_ACTIONS];
static float hidden[KD_MAX_UNITS];
static float next[KD_MAX_UNITS];
static float logits[KD_MAX_ACTIONS];
static uint32_t message;

int main(void)
{
    uint32_t i;
    Frama_C_make_unknown((char *)table, sizeof table);
    for (i = 0u; i < sizeof header; i++) {
        table[16u + i] = header[i];
    }
    (void)kd_load(&loaded, table, EVA_LENGTH, storage, EVA_WORDS);

    Frama_C_make_unknown((char *)storage, sizeof storage);
    Frama_C_make_unknown((char *)obs, sizeof obs);
    Frama_C_make_unknown((char *)hidden, sizeof hidden);
    Frama_C_make_unknown((char *)mask, sizeof mask);
    Frama_C_make_unknown((char *)&model.sum, sizeof model.sum);
    Frama_C_make_unknown((char *)&model.crc, sizeof model.crc);
    Frama_C_make_unknown((char *)&model.check, sizeof model.check);
    (void)kd_send(&model, obs, hidden, &message);
    (void)kd_decide(&model, obs, mask, hidden, next, logits, 7u);
    if (model.scrubbed == 7u) { /* to the end of the pass; the analysis relates no two variables, so it is told where */
        (void)kd_decide(&model, obs, mask, next, next, logits, 0xFFFFFFFFu);
    }
    return 0;
}
