/* A plugin of qemu's translator: how often each instruction is executed within each call of one function.
 *
 *   -plugin libprofile.so,out=FILE,function=ADDRESS
 *
 * Writes, as each call returns, a line "ADDRESS COUNT" in hexadecimal and decimal for every instruction that was
 * executed, those of callees included, and a line "end". A call begins and ends as counter.c has it. One processor, no
 * recursion.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qemu_plugin.h"

#define PLACES 32768u /* instructions of an image, of which the engine's are some 5000 */

typedef struct {
    uint64_t address;
    uint64_t size;
    uint64_t count; /* within the running call */
} place;

static place places[PLACES];
static uint32_t used;
static FILE *out;
static uint64_t start;
static uint64_t back;
static uint64_t next;
static int running;

static void finish(void)
{
    uint32_t i;
    for (i = 0u; i < used; i++) {
        if (places[i].count > 0u) {
            (void)fprintf(out, "%llx %llu\n", (unsigned long long)places[i].address,
                          (unsigned long long)places[i].count);
            places[i].count = 0u;
        }
    }
    (void)fprintf(out, "end\n");
    (void)fflush(out);
}

static void execute(unsigned int cpu, void *data)
{
    place *const here = data;
    (void)cpu;
    if ((running != 0) && (here->address == back)) {
        running = 0;
        finish();
    }
    if ((running == 0) && (here->address == start)) {
        running = 1;
        back = next;
    }
    here->count += (uint64_t)(running != 0);
    next = here->address + here->size;
}

static place *find(uint64_t address, uint64_t size)
{
    uint32_t i;
    for (i = 0u; i < used; i++) {
        if (places[i].address == address) {
            return &places[i];
        }
    }
    if (used == PLACES) {
        (void)fprintf(stderr, "profile: more than %u instructions\n", PLACES);
        abort();
    }
    places[used].address = address;
    places[used].size = size;
    used++;
    return &places[used - 1u];
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    const size_t count = qemu_plugin_tb_n_insns(tb);
    size_t i;
    (void)id;
    for (i = 0; i < count; i++) {
        struct qemu_plugin_insn *const insn = qemu_plugin_tb_get_insn(tb, i);
        place *const here = find(qemu_plugin_insn_vaddr(insn), (uint64_t)qemu_plugin_insn_size(insn));
        qemu_plugin_register_vcpu_insn_exec_cb(insn, execute, 0, here);
    }
}

int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int argc, char **argv)
{
    int i;
    (void)info;
    for (i = 0; i < argc; i++) {
        if (strncmp(argv[i], "out=", 4u) == 0) {
            out = fopen(&argv[i][4], "w");
        } else if (strncmp(argv[i], "function=", 9u) == 0) {
            start = strtoull(&argv[i][9], NULL, 0);
        } else {
            (void)fprintf(stderr, "profile: argument %s is not out=FILE or function=ADDRESS\n", argv[i]);
            return -1;
        }
    }
    if (out == NULL) {
        (void)fprintf(stderr, "profile: out=FILE is missing or cannot be written\n");
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    return 0;
}
