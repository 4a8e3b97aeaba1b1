/* A plugin of qemu's translator: how many instructions each call of the named functions executes.
 *
 *   -plugin libcounter.so,out=FILE,NAME=ADDRESS,NAME=ADDRESS...
 *
 * Writes a line "NAME COUNT" to FILE as each call returns. A call begins with the function's first instruction and ends
 * before the one that it returns to: the next after the call, or after the call's delay slot on a SPARC, so in either
 * case the next after the last that was executed before the function. One processor, no recursion.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qemu_plugin.h"

#define MAX_FUNCTIONS 8

typedef struct {
    char name[32];
    uint64_t address;
    uint64_t back; /* where the running call returns to */
    uint64_t before;
    int running;
} function;

static function functions[MAX_FUNCTIONS];
static int function_count;
static FILE *out;
static uint64_t executed;
static uint64_t next; /* address after the instruction that was executed last */

static void execute(unsigned int cpu, void *data)
{
    const uint64_t address = (uint64_t)(uintptr_t)data >> 4;
    int i;
    (void)cpu;
    for (i = 0; i < function_count; i++) {
        function *const f = &functions[i];
        if ((f->running != 0) && (address == f->back)) {
            f->running = 0;
            (void)fprintf(out, "%s %llu\n", f->name, (unsigned long long)(executed - f->before));
            (void)fflush(out);
        }
        if ((f->running == 0) && (address == f->address)) {
            f->running = 1;
            f->back = next;
            f->before = executed;
        }
    }
    executed++;
    next = address + ((uint64_t)(uintptr_t)data & 15u);
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    const size_t count = qemu_plugin_tb_n_insns(tb);
    size_t i;
    (void)id;
    for (i = 0; i < count; i++) {
        struct qemu_plugin_insn *const insn = qemu_plugin_tb_get_insn(tb, i);
        const uint64_t place = (qemu_plugin_insn_vaddr(insn) << 4) | (qemu_plugin_insn_size(insn) & 15u);
        qemu_plugin_register_vcpu_insn_exec_cb(insn, execute, 0, (void *)(uintptr_t)place);
    }
}

int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int argc, char **argv)
{
    int i;
    (void)info;
    for (i = 0; i < argc; i++) {
        const char *const value = strchr(argv[i], '=');
        const size_t length = (value == NULL) ? 0u : (size_t)(value - argv[i]);
        if ((length == 3u) && (strncmp(argv[i], "out", length) == 0)) {
            out = fopen(value + 1, "w");
        } else if ((length > 0u) && (length < sizeof functions[0].name) && (function_count < MAX_FUNCTIONS)) {
            (void)memcpy(functions[function_count].name, argv[i], length);
            functions[function_count].address = strtoull(value + 1, NULL, 0);
            function_count++;
        } else {
            (void)fprintf(stderr, "counter: argument %s is not NAME=ADDRESS\n", argv[i]);
            return -1;
        }
    }
    if (out == NULL) {
        (void)fprintf(stderr, "counter: out=FILE is missing or cannot be written\n");
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    return 0;
}
