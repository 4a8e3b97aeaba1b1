/* replay TABLE...: the fuzzer's entry point (fuzz_table.c), once for each file. */
#include "fuzz_table.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    static uint8_t bytes[1 << 16];
    int i;
    for (i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        size_t length;
        fuzz_require(file != NULL);
        length = fread(bytes, 1u, sizeof bytes, file);
        fuzz_require(fclose(file) == 0);
        (void)LLVMFuzzerTestOneInput(bytes, length);
    }
    return 0;
}
